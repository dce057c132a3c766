"""Thousands of raced trials on both engines: one winner each time, and nothing alive afterwards that should be dead.

Two gates with connections of their own stand for two processes: what decides is a statement in the database, and
there they meet. ``LIMEN_TEST_RACES`` is the number of trials of all kinds together.

A login is raced at the door, with a proof that was taken before: hashing a password takes longer than everything else
here and decides nothing, while the INSERT that asks for the account as it was proved is where the race is lost or won.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from limen import Limen
from limen.authn.issuing import Grant, Issued, Proof
from limen.authn.strategy import PresentedCredential, Rejected
from limen.core.errors import InvalidRefreshToken, SessionEnded
from limen.core.events import NOWHERE, Event, EventName
from limen.features.accounts.store import Account
from limen.features.roles.service import OPERATOR
from limen.storage.sql.statement import Statement, row
from tests.revocation.engines import ENGINES, empty_database
from tests.support.gates import ROLES, settings_for

TRIALS: Final = int(os.environ.get("LIMEN_TEST_RACES", "400"))
SHARES: Final = {"sqlite": 0.2, "postgresql": 0.5, "valkey": 0.3}
AT_ONCE: Final = 8
"""Trials that run beside each other, each with an account of its own."""
RIVALS: Final = 4
SHORTEST_SPREAD_SECONDS: Final = 0.001
LONGEST_SPREAD_SECONDS: Final = 0.064
"""The rivals of a trial begin within so long: from less than a statement takes to as long as a busy transaction."""
ENOUGH_FOR_BOTH: Final = 60
"""Of so many trials some are won by the one side, and some by the other."""
KEEP_ENDED_MS: Final = 1_000_000

_GENERATION = Statement("SELECT generation FROM limen_sessions WHERE id = :sid")
_LIVING = Statement("SELECT count(*) FROM limen_sessions WHERE account_id = :account_id")


class Arena:
    """Two gates on one database, and the dice that say who begins when."""

    def __init__(self, here: Limen, there: Limen, dice: random.Random) -> None:
        self.here = here
        self.there = there
        self.dice = dice
        self._storage: Any = here.storage

    async def race(self, *rivals: Awaitable[object]) -> list[object]:
        """Let them begin at almost the same moment; return what each returned, or a refusal that it raised."""
        spread = SHORTEST_SPREAD_SECONDS * (LONGEST_SPREAD_SECONDS / SHORTEST_SPREAD_SECONDS) ** self.dice.random()
        # In half of the trials the first one has a start: its decisive statement may be the last of several.
        start = self.dice.choice((0.0, spread))

        async def one(place: int, rival: Awaitable[object]) -> object:
            await asyncio.sleep(self.dice.random() * spread + (start if place else 0.0))
            try:
                return await rival
            except InvalidRefreshToken as refusal:
                return refusal

        return list(await asyncio.gather(*(one(place, rival) for place, rival in enumerate(rivals))))

    async def opened(self, account: Account) -> Issued | None:
        """Open a session for a password that was proved when the account was as it is given here."""
        proof = Proof(Grant.PASSWORD, account.id, account.session_epoch, ("pwd",), "limen", NOWHERE)
        return await self.there.door.open_session(proof)

    async def logged_in(self, account_id: str) -> Issued:
        """Open a session that nobody races."""
        issued = await self.opened(await self.here.accounts.by_id(account_id))
        assert issued is not None
        return issued

    def refreshes(self, token: str) -> list[Awaitable[Issued]]:
        """Return refreshes with one token, by turns on each gate."""
        gates = [self.here, self.there] * (RIVALS // 2)
        return [gate.sessions.refresh(token, origin=NOWHERE) for gate in gates]

    async def is_dead(self, issued: Iterable[Issued]) -> None:
        """Check that neither token of these works: the refresh token nowhere, the access token here at once."""
        for each in issued:
            for gate in (self.here, self.there):
                with pytest.raises(InvalidRefreshToken):
                    await gate.sessions.refresh(each.refresh_token, origin=NOWHERE)
            outcome = self.here.chain.recall([(b"authorization", f"Bearer {each.access_token}".encode())])
            if isinstance(outcome, PresentedCredential):
                outcome = await self.here.chain.authenticate(outcome)
            assert isinstance(outcome, Rejected)
            assert isinstance(outcome.error, SessionEnded)

    async def has_no_session(self, account_id: str) -> None:
        """Check that nothing of the account is left in the table."""
        assert tuple(await self._storage.read(lambda: row(_LIVING, account_id=account_id))) == (0,)

    async def generation(self, sid: str) -> int:
        """Return how often a session was moved on."""
        (generation,) = await self._storage.read(lambda: row(_GENERATION, sid=sid))
        return int(generation)


def issued_of(results: Iterable[object]) -> list[Issued]:
    """Return what was issued in a race."""
    return [each for each in results if isinstance(each, Issued)]


async def refresh_against_refresh(arena: Arena, account_id: str) -> str:
    """All are answered, one of them rotated: there is one successor, it works, and its row was moved on once."""
    before = await arena.logged_in(account_id)
    results = await arena.race(*arena.refreshes(before.refresh_token))
    issued = issued_of(results)
    assert len(issued) == RIVALS, results
    assert len({each.refresh_token for each in issued}) == 1
    assert await arena.generation(before.sid) == 1
    after = await arena.there.sessions.refresh(issued[0].refresh_token, origin=NOWHERE)
    await arena.here.sessions.logout(after.refresh_token, origin=NOWHERE)
    return "one successor"


async def refresh_without_leeway(arena: Arena, account_id: str) -> str:
    """One is answered; the others presented a spent token, so the session is over, the winner's tokens included."""
    before = await arena.logged_in(account_id)
    results = await arena.race(*arena.refreshes(before.refresh_token))
    issued = issued_of(results)
    assert len(issued) == 1, results
    await arena.here.sessions.catch_up()
    await arena.is_dead([before, *issued])
    await arena.has_no_session(account_id)
    return "one winner"


async def logout_against_refresh(arena: Arena, account_id: str) -> str:
    """Whichever came first: once the logout is acknowledged no token of the session works."""
    before = await arena.logged_in(account_id)
    refreshes = arena.refreshes(before.refresh_token)
    results = await arena.race(arena.here.sessions.logout(before.refresh_token, origin=NOWHERE), *refreshes)
    issued = issued_of(results)
    assert len({each.refresh_token for each in issued}) <= 1
    await arena.is_dead([before, *issued])
    await arena.has_no_session(account_id)
    return "the refresh first" if issued else "the logout first"


async def login_against_new_password(arena: Arena, account_id: str) -> str:
    """A login whose password was proved before the change is refused, or its session ends with the others."""
    account = await arena.here.accounts.by_id(account_id)
    assert account.password_hash is not None

    async def change() -> bool:
        changed = await arena.here.storage.accounts.change_password(
            account_id,
            seen_hash=account.password_hash or "",
            new_hash=f"$2b$10${arena.dice.randbytes(26).hex()}x",
            event=Event(EventName.PASSWORD_CHANGED, actor=account_id, target=account_id, origin=NOWHERE),
            end_others=True,
            keep_ended_ms=KEEP_ENDED_MS,
        )
        await arena.here.sessions.catch_up()
        return changed

    return await _login_against(arena, account, change())


async def login_against_disable(arena: Arena, account_id: str) -> str:
    """A login whose password was proved before the account was switched off: refused, or its session ends."""
    account = await arena.here.accounts.by_id(account_id)
    ended = await _login_against(arena, account, arena.here.administration.disable(OPERATOR, account_id))
    assert await arena.opened(account) is None
    await arena.here.administration.enable(OPERATOR, account_id)
    return ended


async def _login_against(arena: Arena, account: Account, ending: Awaitable[object]) -> str:
    logins = [arena.opened(account) for _ in range(RIVALS // 2)]
    issued = issued_of(await arena.race(ending, *logins))
    await arena.is_dead(issued)
    await arena.has_no_session(account.id)
    assert await arena.opened(account) is None
    return "a login first" if issued else "the end first"


Trial = Callable[[Arena, str], Awaitable[str]]

KINDS: Final[dict[Trial, tuple[float, int, int]]] = {
    refresh_against_refresh: (0.25, 30, 1),
    refresh_without_leeway: (0.1, 0, 1),
    logout_against_refresh: (0.3, 30, 2),
    login_against_new_password: (0.2, 30, 2),
    login_against_disable: (0.15, 30, 2),
}
"""Of each kind: its share of the trials, the leeway in seconds, and in how many ways it may go out."""


@asynccontextmanager
async def arena_on(stores: dict[str, str], folder: Path, leeway: int, dice: random.Random) -> AsyncIterator[Arena]:
    """Start the gates."""
    settings = settings_for(folder, **stores, refresh_leeway=leeway)
    here, there = Limen(settings, roles=ROLES), Limen(settings, roles=ROLES)
    async with here.running(), there.running():
        yield Arena(here, there, dice)


@pytest.fixture
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    """The settings of an empty database of the engine."""
    with empty_database(request, tmp_path) as made:
        yield made


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("stores", ENGINES, indirect=True)
async def test_one_winner_and_nothing_alive_that_should_be_dead(
    stores: dict[str, str], kind: Trial, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each trial ends as its kind promises; of many, each side wins some."""
    share, leeway, ways = KINDS[kind]
    trials = max(1, round(TRIALS * share * SHARES[request.node.callspec.params["stores"]]))
    seed = random.randrange(2**32)
    ended: Counter[str] = Counter()
    async with arena_on(stores, tmp_path, leeway, random.Random(seed)) as arena:
        names = [f"racer-{number}" for number in range(AT_ONCE)]
        accounts = [await arena.here.accounts.create(name, "correct horse battery staple") for name in names]

        async def run(account_id: str, times: int) -> None:
            for _ in range(times):
                ended[await kind(arena, account_id)] += 1

        shares = [trials // AT_ONCE + (number < trials % AT_ONCE) for number in range(AT_ONCE)]
        await asyncio.gather(*(run(account.id, times) for account, times in zip(accounts, shares, strict=True)))
    assert ended.total() == trials, f"seed {seed}"
    if trials >= ENOUGH_FOR_BOTH:
        assert len(ended) == ways, f"{ended} seed {seed}"
