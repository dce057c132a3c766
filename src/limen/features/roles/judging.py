"""Judging who changes roles and permissions, as often as what it was judged by has moved before it was written."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Final, TypeAlias

from limen.authz.roles import RoleCatalogue
from limen.core.errors import AccountNotActive, ConfigurationError, Forbidden, InputFault, InvalidInput, Unavailable
from limen.core.events import Event, EventSink, Outcome
from limen.core.held import given
from limen.features.roles.catalogue import catalogue_of, unusable
from limen.features.roles.judgement import Actor, Judgement, Operator
from limen.features.roles.store import Change, RoleStore, Seen, Snapshot

ATTEMPTS: Final = 5
"""How often a change is judged anew, when what it was judged by has moved."""

_END_OF_TIME: Final = 253_402_300_799

Attempt: TypeAlias = Callable[[Judgement], Awaitable[Change]]


class Judge:
    """What the use cases of roles and of permissions share.

    Args:
        store: where the roles are.
        record: writes the event of a refusal.
        roles_changed: called after a change, so that this process knows at once.
        keep_ended_ms: how long a changed account stays listed: an access token's life and a margin.
    """

    def __init__(
        self,
        store: RoleStore,
        *,
        record: EventSink,
        roles_changed: Callable[[], Awaitable[None]],
        keep_ended_ms: int,
    ) -> None:
        self._store = store
        self._record = record
        self._roles_changed = roles_changed
        self._keep_ended_ms = keep_ended_ms

    async def _judged(self, actor: Actor, attempt: Attempt, refused: Event, *account_ids: str) -> None:
        """Judge and try until what was judged by still held when it was written; a refusal is recorded.

        Raises:
            Unavailable: it moved each time.
        """
        for _ in range(ATTEMPTS):
            try:
                change = await attempt(await self._judgement(actor, account_ids))
            except Forbidden as error:
                data = {**refused.data, "reason": error.code}
                await self._record(replace(refused, outcome=Outcome.FAILURE, data=data))
                raise
            if change is Change.DONE:
                await self._roles_changed()
                return
        raise Unavailable("The roles are being changed by others; try again.")

    async def _judgement(self, actor: Actor, account_ids: Collection[str]) -> Judgement:
        if isinstance(actor, Operator):
            snapshot, catalogue = await self._read(*account_ids)
            return Judgement(snapshot, catalogue, Seen(snapshot.version), None)
        snapshot, catalogue = await self._read(actor.sub, *account_ids)
        holder = snapshot.holders.get(actor.sub)
        if holder is None or holder.status != "active":
            raise AccountNotActive()
        # Never more than the credential allows, even where the account holds more.
        held = given(holder.held, catalogue.names, catalogue.permissions_of)[1] & actor.permissions
        return Judgement(snapshot, catalogue, Seen(snapshot.version, holder), held)

    async def _read(self, *account_ids: str) -> tuple[Snapshot, RoleCatalogue]:
        snapshot = await self._store.read(account_ids)
        try:
            return snapshot, catalogue_of(snapshot)
        except ConfigurationError as error:
            raise unusable() from error


def end_of(now_ms: int, until: int | None, lifetime: int | None) -> int | None:
    """Return when a grant ends, in milliseconds since 1970 UTC; None: not by itself.

    Args:
        now_ms: the database's clock.
        until: in seconds since 1970 UTC.
        lifetime: in seconds from now; one of the two, or neither.

    Raises:
        InvalidInput: it would be over already, or never come.
    """
    if until is None and lifetime is None:
        return None
    end = until if until is not None else now_ms // 1000 + (lifetime or 0)
    if not now_ms < end * 1000 <= _END_OF_TIME * 1000:
        message = "A grant ends in the future, by the clock of the database."
        raise InvalidInput(message, errors=[InputFault(("body", "expires_at"), "invalid_value", message)])
    return end * 1000
