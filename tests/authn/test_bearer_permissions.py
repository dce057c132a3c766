"""Access tokens with permissions of their account's own: stated, or asked of the store for each request."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from limen.authn.bearer import BearerStrategy
from limen.authn.chain import AuthenticationChain
from limen.authn.ended import EndedSessions
from limen.authn.strategy import Authenticated
from limen.authz.roles import RoleCatalogue
from limen.core.errors import AccountNotActive, LimenError, Unavailable
from limen.core.events import NOWHERE, Origin
from limen.core.held import Held
from limen.core.ids import uuid7
from limen.core.principal import ANONYMOUS, Principal
from limen.crypto.claims import ACCESS_TYP, MAX_PERMISSIONS, AccessClaims, access_claims, size_of_permissions
from limen.crypto.claims_cache import ClaimsCache
from limen.crypto.jwt import TokenError, TokenVerifier
from limen.crypto.keys import KeySet, SigningKey
from limen.crypto.signing import Signer

ISSUER = "https://id.example"
KEY = SigningKey.from_secret("a secret of the tests, and long enough")
THUMBPRINT = "A" * 43


@dataclass
class Request:
    """Where the outcome for one request is noted."""

    principal: Principal = ANONYMOUS
    rejection: LimenError | None = None
    credential: object = None
    safe_only: bool = False
    origin: Origin = NOWHERE


@dataclass
class Service:
    """A chain with one strategy, and a store that says what accounts hold.

    Attributes:
        held: what the store says; an error is raised.
        asked: how often it was asked.
    """

    held: frozenset[str] | LimenError = frozenset({"maker", "+order:approve"})
    asks: bool = True
    now: float = field(default_factory=time.time)
    asked: int = 0
    certificate: str | None = None

    def __post_init__(self) -> None:
        self.ended = EndedSessions()
        self.changed: dict[str, frozenset[str]] = {}
        catalogue = RoleCatalogue({"maker": ["order:create"], "checker": ["order:check"]}, [("checker", "maker")])
        self.verifier = TokenVerifier(
            KeySet([KEY]),
            issuer=ISSUER,
            audience="orders",
            typ=ACCESS_TYP,
            claims=AccessClaims,
            max_lifetime=900,
            clock=lambda: self.now,
        )
        self.strategy = BearerStrategy(
            self.verifier,
            ClaimsCache(),
            self.ended,
            changed=self.changed,
            permissions_of=catalogue.permissions_of,
            known_roles=lambda: catalogue.names,
            clock=lambda: self.now,
            thumbprint_of=lambda _scope: self.certificate,
            held_now=self.held_now if self.asks else None,
        )
        self.chain = AuthenticationChain([self.strategy], thumbprint_of=lambda _scope: self.certificate)

    async def held_now(self, _principal: Principal) -> frozenset[str]:
        """Say what the account holds."""
        self.asked += 1
        if isinstance(self.held, LimenError):
            raise self.held
        return self.held

    def claims(self, *roles: str, **named: Any) -> AccessClaims:
        """Return the claims of a token of fifteen minutes."""
        values: dict[str, Any] = {
            "issuer": ISSUER,
            "audience": "orders",
            "sub": uuid7(),
            "sid": uuid7(),
            "client_id": "orders",
            "roles": roles,
            "auth_time": int(self.now),
            "amr": ("pwd",),
            "iat": int(self.now),
            "ttl": 900,
        }
        return access_claims(**{**values, **named})

    async def request(self, claims: AccessClaims, *, plain: bool = False) -> Request:
        """Send a request; the plain way is that of the chain, past the shortcut."""
        scheme = b"bearer  " if plain else b"Bearer "
        token = Signer(KEY, ACCESS_TYP).sign(claims).encode()
        scope: Mapping[str, Any] = {"headers": [(b"authorization", scheme.strip() + b" " + token)]}
        state = Request()
        pending = self.chain.attribute(scope, state)
        if pending is not None:
            await pending
        return state


@pytest.mark.parametrize("plain", [False, True])
async def test_what_is_stated_counts_and_nothing_is_asked(*, plain: bool) -> None:
    """Beside what the roles give; the store is not asked."""
    service = Service()
    claims = service.claims("maker", permissions=["order:approve"])
    for _ in range(2):
        state = await service.request(claims, plain=plain)
        assert state.principal.roles == {"maker"}
        assert state.principal.permissions == {"order:create", "order:approve"}
    assert service.asked == 0


@pytest.mark.parametrize("plain", [False, True])
async def test_what_is_not_stated_is_asked_each_time(*, plain: bool) -> None:
    """What the store says at that moment counts, roles as well, whatever the token was issued with."""
    service = Service()
    claims = service.claims("checker", permissions=[])
    for held, expected in (
        (frozenset({"maker", "+order:approve"}), {"order:create", "order:approve"}),
        (frozenset({"maker"}), {"order:create"}),
        (frozenset({"maker", "checker", "+order:read"}), {"order:read"}),
        (frozenset(), set()),
    ):
        service.held = held
        state = await service.request(claims, plain=plain)
        assert state.rejection is None
        assert state.principal.permissions == expected
        assert isinstance(state.credential, Authenticated)
        assert state.credential.expires_at == claims.exp
    assert service.asked == 4


async def test_a_token_without_the_claim_asks_nothing() -> None:
    """Most accounts have no permissions of their own: their requests are what they were."""
    service = Service()
    claims = service.claims("maker")
    assert [(await service.request(claims)).principal.permissions for _ in range(3)] == [{"order:create"}] * 3
    assert service.asked == 0


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("error", [Unavailable(), AccountNotActive()], ids=["unavailable", "not active"])
async def test_where_the_store_says_no(error: LimenError, *, plain: bool) -> None:
    """Nobody is let in, and the refusal is the store's."""
    service = Service(held=error)
    state = await service.request(service.claims("maker", permissions=[]), plain=plain)
    assert (state.principal, state.rejection) == (ANONYMOUS, error)


@pytest.mark.parametrize("plain", [False, True])
async def test_what_ended_is_not_asked_about(*, plain: bool) -> None:
    """A session that is over, a token that is, and a key that went are refused as ever."""
    service = Service()
    claims = service.claims("maker", permissions=[])
    assert (await service.request(claims, plain=plain)).rejection is None
    service.ended.add(claims.sid, 10**15)
    assert _code(await service.request(claims, plain=plain)) == "session_ended"
    other = service.claims("maker", permissions=[])
    service.now += 901
    assert _code(await service.request(other, plain=plain)) == "token_expired"
    service.now -= 901
    service.strategy.use_keys(KeySet([SigningKey.from_secret("another secret, which is long enough too")]))
    assert _code(await service.request(other, plain=plain)) == "token_invalid"
    assert service.asked == 1


@pytest.mark.parametrize("plain", [False, True])
async def test_a_bound_token_counts_on_its_connection_alone(*, plain: bool) -> None:
    """Whatever else is asked: the certificate is, too, before the store."""
    service = Service()
    claims = service.claims("maker", permissions=[], certificate=THUMBPRINT)
    for certificate, code in ((None, "token_invalid"), ("B" * 43, "token_invalid"), (THUMBPRINT, "ok")):
        service.certificate = certificate
        assert _code(await service.request(claims, plain=plain)) == code
    assert service.asked == 1


async def test_what_is_opened_with_it_ends_with_what_is_held() -> None:
    """A socket lasts no longer than the first thing that ends, and is closed where what is held changes."""
    service = Service()
    end = int(service.now) + 60
    service.held = Held({"maker", "+order:approve"}, {"+order:approve": end * 1000})
    claims = service.claims("maker", permissions=[])
    credential = (await service.request(claims)).credential
    assert isinstance(credential, Authenticated)
    assert credential.expires_at == end
    assert service.strategy.fault_of(credential) is None
    service.changed[claims.sub] = frozenset({"maker"})
    assert _code_of(service.strategy.fault_of(credential)) == "token_stale"


async def test_a_service_without_a_store_goes_by_the_roles() -> None:
    """A resource server cannot ask: what is not stated is not there."""
    service = Service(asks=False)
    state = await service.request(service.claims("maker", permissions=[]))
    assert state.principal.permissions == {"order:create"}


@pytest.mark.parametrize(
    ("held", "code"),
    [
        ({"maker", "+order:approve"}, "ok"),
        ({"maker"}, "token_stale"),
        ({"maker", "+order:approve", "+order:read"}, "token_stale"),
        ({"+order:approve"}, "token_stale"),
        ({"maker", "order:approve"}, "token_stale"),
    ],
    ids=["the same", "taken", "one more", "other roles", "a role of that name"],
)
async def test_a_token_that_states_something_else_is_stale(held: set[str], code: str) -> None:
    """Permissions are compared as roles are, on every use."""
    service = Service()
    claims = service.claims("maker", permissions=["order:approve"])
    assert _code(await service.request(claims)) == "ok"
    service.changed[claims.sub] = frozenset(held)
    assert _code(await service.request(claims)) == code


@pytest.mark.parametrize(("issued_after", "code"), [(-1, "token_stale"), (0, "ok"), (1, "ok")])
async def test_what_had_ended_when_it_was_issued_is_not_missed(issued_after: int, code: str) -> None:
    """The list names what ends with its end: a token of before must state it, one of afterwards cannot."""
    service = Service()
    end = int(service.now) + 100
    claims = service.claims("maker", iat=end + issued_after)
    service.now = end + 5
    service.changed[claims.sub] = Held({"maker", "+order:approve"}, {"+order:approve": end * 1000})
    assert _code(await service.request(claims)) == code


def test_the_claim_has_a_bound_and_a_shape() -> None:
    """2048 bytes at most, names of plain characters; an empty one is a claim too, and a missing one is none."""
    service = Service()
    fits = [f"order:may-do-{number:03}" for number in range(107)]
    for stated in (None, [], ["order:approve"], fits):
        claims = service.claims("maker", permissions=stated)
        read = service.verifier.verify(Signer(KEY, ACCESS_TYP).sign(claims).encode())
        assert read == claims
    assert size_of_permissions(fits) <= MAX_PERMISSIONS < size_of_permissions([*fits, "order:may-do-107"])
    for stated in ([*fits, "order:may-do-107"], ["order approve"], [""], ["order:\u00e4"], ["x" * 300]):
        with pytest.raises(ValueError, match="permissions"):
            service.claims("maker", permissions=stated)


@pytest.mark.parametrize(
    "stated",
    [frozenset({"order approve"}), frozenset({""}), frozenset(f"order:may-do-{n:03}" for n in range(108))],
    ids=["a space", "empty", "too large"],
)
def test_a_claim_of_another_shape_is_no_token(stated: frozenset[str]) -> None:
    """Also where the signature is right."""
    service = Service()
    forged = msgspec.structs.replace(service.claims("maker"), permissions=stated)
    with pytest.raises(TokenError):
        service.verifier.verify(Signer(KEY, ACCESS_TYP).sign(forged).encode())


def _code(state: Request) -> str:
    return _code_of(state.rejection)


def _code_of(error: LimenError | None) -> str:
    return "ok" if error is None else error.code
