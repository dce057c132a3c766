"""What the memory of session cookies must not remember: the store is asked each time, and its word counts."""

from dataclasses import replace
from typing import Any

import pytest

from limen.authn.cookie import CookieStrategy, CookieTerms, PresentedSession, value_of
from limen.authn.ended import EndedSessions
from limen.core.errors import CredentialMalformed, SessionEnded, Unavailable
from limen.core.held import Held
from limen.core.ids import uuid7
from limen.core.principal import ANONYMOUS
from limen.crypto.refresh import secret_hash
from tests.mtls.presenting import State

SID, SECRET = uuid7(), b"s" * 32
ROW = PresentedSession("ann", 2_000_000, 40_000_000, 0, 1_000, ("pwd",), None, "app", frozenset({"maker"}), now=200_000)


class Store:
    """A store that says what it is told to, in other objects each time."""

    def __init__(self) -> None:
        self.row: PresentedSession | None = ROW
        self.error: Exception | None = None
        self.asked: list[tuple[str, bytes]] = []

    async def present(self, sid: str, token_hash: bytes) -> PresentedSession | None:
        """Say it, to whoever knows the secret."""
        self.asked.append((sid, token_hash))
        if self.error is not None:
            raise self.error
        if self.row is None or (sid, token_hash) != (SID, secret_hash(SECRET)):
            return None
        roles = self.row.roles
        return replace(self.row, roles=frozenset([*roles]) if type(roles) is frozenset else roles, amr=(*self.row.amr,))

    async def touch(self, sid: str, token_hash: bytes, *, idle_ms: int, every_ms: int) -> bool:
        """Move nothing."""
        return False


class Roles:
    """What roles mean, which may change."""

    def __init__(self) -> None:
        self.names = frozenset({"maker", "checker"})
        self.given = {"maker": frozenset({"order:create"}), "checker": frozenset({"order:approve"})}

    def permissions_of(self, roles: frozenset[str]) -> frozenset[str]:
        """Return the permissions of one role, or none."""
        return self.given[next(iter(roles))] if roles else frozenset()


class Room:
    """A strategy, and all that it asks."""

    def __init__(self) -> None:
        self.store, self.roles, self.ended = Store(), Roles(), EndedSessions()
        self.strategy = CookieStrategy(
            self.store,
            self.ended,
            terms=CookieTerms(),
            proof=lambda scope, session: None,
            permissions_of=self.roles.permissions_of,
            known_roles=lambda: self.roles.names,
            https_only=True,
        )
        self.attribute = self.strategy.shortcut(lambda scope, state: None)

    async def ask(self, sid: str = SID, secret: bytes = SECRET, *more: tuple[bytes, bytes]) -> State:
        """Attribute a request with a cookie."""
        state = State()
        cookie = (b"cookie", b"__Host-limen=" + value_of(sid, secret).encode("ascii"))
        scope: dict[str, Any] = {"type": "http", "method": "GET", "scheme": "https", "headers": [cookie, *more]}
        waiting = self.attribute(scope, state)
        if waiting is not None:
            await waiting
        return state


async def test_what_the_store_says_again_is_the_same_principal() -> None:
    """The principal of the request before is used again, and the store has been asked for each of them."""
    room = Room()
    first, again = await room.ask(), await room.ask()
    assert first.principal.is_authenticated
    assert again.principal is first.principal
    assert len(room.store.asked) == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("account_id", "bob"),
        ("roles", frozenset({"checker"})),
        ("roles", frozenset()),
        ("amr", ("pwd", "otp")),
        ("acr", "2"),
        ("auth_time", 5_000),
        ("client_id", "other"),
        ("idle_until", 2_500_000),
        ("ends_at", 200_000_000),
        ("created_at", -100_000_000),
    ],
)
async def test_whatever_the_store_says_anew_counts(field: str, value: Any) -> None:
    """Each part of a session that changes changes what comes of the cookie, at once and back again."""
    room, alone = Room(), Room()
    before = await room.ask()
    changed: Any = {field: value}
    room.store.row = alone.store.row = replace(ROW, **changed)
    after, expected = await room.ask(), await alone.ask()
    assert after.principal == expected.principal
    assert after.credential == expected.credential != before.credential
    room.store.row = ROW
    assert (await room.ask()).credential == before.credential


async def test_what_roles_mean_counts_as_it_is_now() -> None:
    """A permission that a role lost, and a role that is there no more, are gone with the next request."""
    room = Room()
    assert (await room.ask()).principal.permissions == frozenset({"order:create"})
    room.roles.given["maker"] = frozenset({"order:read"})
    assert (await room.ask()).principal.permissions == frozenset({"order:read"})
    room.roles.names = frozenset({"checker"})
    assert (await room.ask()).principal.roles == frozenset()


async def test_what_ends_by_itself_is_never_remembered() -> None:
    """A role with an end: over by the store's clock it is gone, and a moved end is the session's at once."""
    room = Room()
    ending: Any = Held({"maker"}, {"maker": 500_000})
    room.store.row = replace(ROW, roles=ending)
    first = await room.ask()
    room.store.row = replace(ROW, roles=Held({"maker"}, {"maker": 300_000}))
    moved = await room.ask()
    assert [state.credential.expires_at for state in (first, moved)] == [500, 300]
    room.store.row = replace(ROW, roles=ending, now=500_000)
    assert (await room.ask()).principal.roles == frozenset()
    room.store.row = ROW
    assert (await room.ask()).credential.expires_at == 2_000


async def test_what_ended_between_two_requests() -> None:
    """On the list of the ended, gone from the store, and a store that does not answer: never the session before."""
    room = Room()
    assert (await room.ask()).principal.is_authenticated
    room.store.row = None
    gone = await room.ask()
    room.store.row, room.store.error = ROW, Unavailable()
    silent = await room.ask()
    room.store.error = None
    assert (await room.ask()).principal.is_authenticated
    room.ended.add(SID, 10**15)
    listed = await room.ask()
    for state, kind in ((gone, SessionEnded), (silent, Unavailable), (listed, SessionEnded)):
        assert isinstance(state.rejection, kind)
        assert (state.principal, state.credential) == (ANONYMOUS, None)


async def test_another_secret_borrows_nothing() -> None:
    """The id of a session that was seen, with other secret bits, is asked about as what it is."""
    room = Room()
    assert (await room.ask()).principal.is_authenticated
    state = await room.ask(SID, b"t" * 32)
    assert isinstance(state.rejection, SessionEnded)
    assert room.store.asked[-1] == (SID, secret_hash(b"t" * 32))
    assert isinstance((await room.ask(uuid7())).rejection, SessionEnded)


async def test_a_second_cookie_is_malformed_after_the_first_was_let_in() -> None:
    """In one header or two, the same value or another, within and beyond the limit."""
    room = Room()
    assert (await room.ask()).principal.is_authenticated
    again = b"__Host-limen=" + value_of(SID, SECRET).encode("ascii")
    for more in ([again], [b"a=b; " + again], [b"__Host-limen="], [b"x" * 20_000], [b"x" * 9_000] * 2 + [again]):
        state = await room.ask(SID, SECRET, *((b"cookie", each) for each in more))
        assert isinstance(state.rejection, CredentialMalformed), more[0][:20]
        assert not state.principal.is_authenticated


async def test_only_what_the_store_knows_is_remembered() -> None:
    """Strangers fill no memory: what is no session leaves nothing behind."""
    room = Room()
    for number in range(50):
        assert (await room.ask(uuid7(), bytes([number]) * 32)).rejection is not None
    assert (len(room.store.asked), len(room.strategy._seen)) == (50, 0)
    assert (await room.ask()).principal.is_authenticated
    assert len(room.strategy._seen) == 1
