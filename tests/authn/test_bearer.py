"""The Bearer strategy: what is asked again on every use of a token."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from limen.authn.bearer import BearerStrategy
from limen.authn.chain import AuthenticationChain
from limen.authn.ended import EndedSessions
from limen.authn.strategy import Authenticated, PresentedCredential, Rejected
from limen.authz.roles import Role, RoleCatalogue
from limen.core.errors import LimenError
from limen.core.events import NOWHERE, Origin
from limen.core.ids import uuid7
from limen.core.principal import ANONYMOUS, Principal
from limen.crypto.claims import ACCESS_TYP, AccessClaims, access_claims
from limen.crypto.claims_cache import ClaimsCache
from limen.crypto.jwt import TokenVerifier
from limen.crypto.keys import KeySet, SigningKey
from limen.crypto.signing import Signer

ISSUER = "https://id.example"
KEY = SigningKey.from_secret("a secret of the tests, and long enough")


@dataclass
class Request:
    """Where the outcome for one request is noted."""

    principal: Principal = ANONYMOUS
    rejection: LimenError | None = None
    credential: object = None
    safe_only: bool = False
    origin: Origin = NOWHERE


@dataclass
class Installation:
    """A chain with one strategy, and everything it asks."""

    now: float = field(default_factory=time.time)
    ended: EndedSessions = field(default_factory=EndedSessions)
    changed: dict[str, frozenset[str]] = field(default_factory=dict)
    roles: RoleCatalogue = field(default_factory=lambda: RoleCatalogue({"maker": ["order:create"], "checker": []}))
    cache: ClaimsCache[Authenticated] = field(default_factory=ClaimsCache)

    def __post_init__(self) -> None:
        verifier = TokenVerifier(
            KeySet([KEY]),
            issuer=ISSUER,
            audience="orders",
            typ=ACCESS_TYP,
            claims=AccessClaims,
            max_lifetime=900,
            clock=lambda: self.now,
        )
        self.strategy = BearerStrategy(
            verifier,
            self.cache,
            self.ended,
            changed=self.changed,
            permissions_of=self.permissions_of,
            known_roles=lambda: self.roles.names,
            clock=lambda: self.now,
        )
        self.chain = AuthenticationChain([self.strategy])

    def permissions_of(self, roles: frozenset[str]) -> frozenset[str]:
        """Ask the catalogue of now."""
        return self.roles.permissions_of(roles)

    def token(self, *roles: str, sub: str = "", sid: str = "") -> bytes:
        """Return a token of fifteen minutes."""
        claims = access_claims(
            issuer=ISSUER,
            audience="orders",
            sub=sub or uuid7(),
            sid=sid or uuid7(),
            client_id="orders",
            roles=roles,
            auth_time=int(self.now),
            amr=("pwd",),
            iat=int(self.now),
            ttl=900,
        )
        return Signer(KEY, ACCESS_TYP).sign(claims).encode()

    def present(self, token: bytes) -> Authenticated | str:
        """Present a token; return who it stands for, or the code of the refusal."""
        outcome = self.chain.recall([(b"host", b"a"), (b"authorization", b"Bearer " + token)])
        if isinstance(outcome, Rejected):
            return outcome.error.code
        assert isinstance(outcome, Authenticated)
        return outcome


@pytest.fixture
def limen() -> Installation:
    """A fresh one."""
    return Installation()


def _code(answer: Authenticated | str) -> str:
    return answer if isinstance(answer, str) else "ok"


@pytest.mark.parametrize("seen_before", [True, False])
@pytest.mark.parametrize(
    ("held", "code"),
    [
        ({"maker"}, "ok"),
        ({"maker", "checker"}, "token_stale"),
        ({"checker"}, "token_stale"),
        (set(), "token_stale"),
    ],
)
def test_a_token_with_other_roles_than_are_held_now_is_stale(
    limen: Installation, held: set[str], code: str, *, seen_before: bool
) -> None:
    """Granted, revoked or exchanged: a token whose roles are not exactly those held now is refused, on every use."""
    sub = uuid7()
    token = limen.token("maker", sub=sub)
    if seen_before:
        assert _code(limen.present(token)) == "ok"
    limen.changed[sub] = frozenset(held)
    assert [_code(limen.present(token)) for _ in range(2)] == [code, code]


def test_a_change_concerns_one_account(limen: Installation) -> None:
    """Another account's token stays good while the list has an entry, and the account's own new token is good."""
    sub = uuid7()
    limen.changed[sub] = frozenset({"checker"})
    assert _code(limen.present(limen.token("maker"))) == "ok"
    assert _code(limen.present(limen.token("checker", sub=sub))) == "ok"


def test_a_change_is_forgotten_with_its_entry(limen: Installation) -> None:
    """The memory of claims holds no verdict: without the entry the token is what it was."""
    sub = uuid7()
    token = limen.token("maker", sub=sub)
    limen.changed[sub] = frozenset()
    assert _code(limen.present(token)) == "token_stale"
    del limen.changed[sub]
    assert _code(limen.present(token)) == "ok"


@pytest.mark.parametrize("seen_before", [True, False])
def test_clock_and_ended_sessions_come_before_the_roles(limen: Installation, *, seen_before: bool) -> None:
    """An expired token is expired and one of an ended session is ended, whatever roles the account holds now."""
    sub, sid = uuid7(), uuid7()
    token = limen.token("maker", sub=sub, sid=sid)
    if seen_before:
        assert _code(limen.present(token)) == "ok"
    limen.changed[sub] = frozenset()
    limen.ended.add(sid, 2**53)
    assert _code(limen.present(token)) == "session_ended"
    limen.now += 900
    assert _code(limen.present(token)) == "token_expired"


def test_a_token_seen_before_is_refused_when_its_key_is_gone(limen: Installation) -> None:
    """After a secret was dropped, tokens under it are refused although their claims are kept."""
    token = limen.token("maker")
    assert _code(limen.present(token)) == "ok"
    limen.strategy.use_keys(KeySet([SigningKey.from_secret("the only secret that is left in this test")]))
    assert _code(limen.present(token)) == "token_invalid"


def test_a_role_that_does_not_exist_is_not_given(limen: Installation) -> None:
    """A role the catalogue does not know is not the principal's; the token as such is good, and not stale either."""
    sub = uuid7()
    token = limen.token("maker", "ghost", sub=sub)
    limen.changed[sub] = frozenset({"maker", "ghost"})
    for _ in range(2):
        answer = limen.present(token)
        assert isinstance(answer, Authenticated)
        assert answer.principal.roles == {"maker"}
        assert answer.principal.permissions == {"order:create"}


def test_another_catalogue_counts_once_the_memory_is_cleared(limen: Installation) -> None:
    """A role that was removed is gone from the principal of a token seen before, and one that came back is there."""
    token = limen.token("maker", "checker")
    held: list[set[str]] = []
    for declared in (["maker", "checker"], ["checker"], [], ["maker"]):
        limen.roles = RoleCatalogue([Role(name) for name in declared])
        limen.cache.clear()
        answer = limen.present(token)
        assert isinstance(answer, Authenticated)
        held.append(set(answer.principal.roles))
    # Without any role known the names cannot be judged, and they give no permission.
    assert held == [{"maker", "checker"}, {"checker"}, {"maker", "checker"}, {"maker"}]


Headers = Callable[[bytes], list[tuple[bytes, bytes]]]


def _header(value: bytes) -> tuple[bytes, bytes]:
    return (b"authorization", value)


PRESENTED: dict[str, Headers] = {
    "none": lambda token: [(b"x-authorization", b"Bearer " + token)],
    "one": lambda token: [_header(b"Bearer " + token), (b"host", b"a")],
    "two that are the same": lambda token: [_header(b"Bearer " + token)] * 2,
    "two, the second empty": lambda token: [_header(b"Bearer " + token), _header(b"")],
    "lower case": lambda token: [_header(b"bearer " + token)],
    "two spaces": lambda token: [_header(b"Bearer  " + token)],
    "a space after it": lambda token: [_header(b"Bearer " + token + b" ")],
    "another scheme": lambda token: [_header(b"Basic " + token)],
    "no scheme": lambda token: [_header(token)],
    "no token": lambda token: [_header(b"Bearer ")],
    "another signature": lambda token: [_header(b"Bearer " + token[:-8] + token[-8:].swapcase())],
    "cut": lambda token: [_header(b"Bearer " + token[:-1])],
    "too large": lambda token: [_header(b"Bearer " + token + b"A" * 16_384)],
}


@pytest.mark.parametrize("seen_before", [True, False])
@pytest.mark.parametrize("state", ["valid", "expired", "ended", "stale"])
@pytest.mark.parametrize("presented", PRESENTED)
async def test_the_short_way_says_what_the_chain_says(
    limen: Installation, presented: str, state: str, *, seen_before: bool
) -> None:
    """Whatever is presented, and whatever became of it: the same principal, or the same refusal."""
    sub, sid = uuid7(), uuid7()
    token = limen.token("maker", sub=sub, sid=sid)
    if seen_before:
        limen.chain.attribute({"headers": PRESENTED["one"](token)}, Request())
        assert len(limen.cache) == 1
    if state == "expired":
        limen.now += 900
    elif state == "ended":
        limen.ended.add(sid, 2**53)
    elif state == "stale":
        limen.changed[sub] = frozenset()
    headers = PRESENTED[presented](token)
    request = Request()
    pending = limen.chain.attribute({"headers": headers}, request)
    if pending is not None:
        await pending
    said = limen.chain.recall(headers)
    if isinstance(said, PresentedCredential):
        said = await limen.chain.authenticate(said)
    if isinstance(said, Authenticated):
        assert (request.principal.sub, request.credential, request.rejection) == (sub, said, None)
    else:
        assert (request.principal, request.credential) == (ANONYMOUS, None)
        if isinstance(said, Rejected):
            assert request.rejection is not None
            assert request.rejection.code == said.error.code
        else:
            assert request.rejection is None
    allowed = state == "valid" and presented in {"one", "lower case", "two spaces"}
    assert request.principal.is_authenticated is allowed


def test_a_refused_token_is_verified_once(limen: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request is one verification, also where it fails: twice would be half the work of an attack on the server."""
    asked: list[str | bytes] = []
    verify = TokenVerifier.verify_with_kid

    def counted(self: TokenVerifier[AccessClaims], token: str | bytes) -> tuple[AccessClaims, str]:
        asked.append(token)
        return verify(self, token)

    monkeypatch.setattr(TokenVerifier, "verify_with_kid", counted)
    good = limen.token("maker")
    bad = good[:-8] + good[-8:].swapcase()
    for token in (bad, good, good):
        limen.chain.attribute({"headers": [_header(b"Bearer " + token)]}, Request())
    assert asked == [bad, good]
