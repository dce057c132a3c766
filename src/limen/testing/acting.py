"""Acts as somebody, without a login."""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager

from limen.authn.chain import AuthenticationChain
from limen.authn.strategy import Authenticated, PresentedCredential
from limen.core.errors import ConfigurationError
from limen.core.ids import uuid7
from limen.core.principal import Authentication, Principal, PrincipalKind
from limen.wiring import Limen

_FOREVER = 2**62
"""Seconds since 1970 UTC that no clock will show."""


@contextmanager
def acting_as(
    gate: Limen,
    *,
    sub: str | None = None,
    roles: Iterable[str] = (),
    permissions: Iterable[str] = (),
) -> Iterator[Principal]:
    """Let every request that the gate judges inside the block be this principal's, whatever credential it carries.

    The guard itself stays: what the principal's roles and permissions do not allow is refused. ``@live`` is answered
    with the principal, too, so no account is needed; limen's own routes about accounts and sessions ask the database as
    ever. Blocks may be nested; the innermost counts, and the end of each restores what was before it, also after an
    error. The gate is changed for all threads: run tests that share one gate one after the other.

    ::

        with acting_as(gate, roles={"checker"}) as me:
            assert client.get("/orders").status_code == 200
            assert client.post("/orders", json=order).status_code == 403

    Args:
        gate: the object of the application under test.
        sub: the account's id; a new UUIDv7 unless given.
        roles: the roles held; each must be one that the application declares.
        permissions: what is allowed beside what the roles give, as ``resource:action``.

    Yields:
        The principal.

    Raises:
        ConfigurationError: a role is not declared, so that a test with a misspelt one does not pass by being refused.
    """
    held = frozenset(str(role) for role in roles)
    unknown = sorted(held - gate.catalogue.names)
    if unknown:
        raise ConfigurationError(f"acting_as: the application declares no role {', '.join(unknown)}")
    principal = Principal(
        sub=sub if sub is not None else uuid7(),
        kind=PrincipalKind.PERSON,
        roles=held,
        permissions=gate.catalogue.permissions_of(held) | frozenset(str(permission) for permission in permissions),
        sid=uuid7(),
        client_id=gate.settings.audience,
        authentication=Authentication(("pwd",), int(time.time())),
    )
    replaced = {"chain": gate.chain, "live": vars(gate).get("live")}
    vars(gate).update(chain=_OnePrincipal(gate.chain, principal), live=_always(principal))
    try:
        yield principal
    finally:
        vars(gate).update(replaced)
        if replaced["live"] is None:
            # The method of the class is to be found again.
            del vars(gate)["live"]


class _OnePrincipal(AuthenticationChain):
    """Takes every request for one principal's."""

    def __init__(self, replaced: AuthenticationChain, principal: Principal) -> None:
        super().__init__(())
        self.challenges = replaced.challenges
        self._outcome = Authenticated(principal, _FOREVER)

    def recall(self, headers: Iterable[tuple[bytes, bytes]], certificate: str | None = None) -> Authenticated:
        """Answer the principal at once."""
        return self._outcome

    async def authenticate(self, credential: PresentedCredential) -> Authenticated:
        """Answer the principal."""
        return self._outcome


def _always(principal: Principal) -> Callable[[Principal], Awaitable[Principal]]:
    async def live(_asked: Principal) -> Principal:
        return principal

    return live
