"""Each secret is replaced in three steps without logging anyone out, while processes are restarted one after another.

1. The next secret is accepted everywhere. 2. It signs, and the old one is accepted. 3. The old one is dropped, after
the longest life of what it signed.
"""

import sqlite3
from contextlib import closing

import pytest

from limen import Limen
from limen.authn.issuing import Issued
from limen.core.errors import InvalidCredentials, InvalidRefreshToken
from limen.core.events import NOWHERE
from tests.rotation.conftest import NEXT, OLD, Fleet, lets_in, log_in, refresh
from tests.support.gates import PASSWORD

BEFORE, ANNOUNCED, SWITCHED, DONE = (OLD,), (OLD, NEXT), (NEXT, OLD), (NEXT,)
ROLLING = [
    (BEFORE, BEFORE),
    (ANNOUNCED, BEFORE),
    (ANNOUNCED, ANNOUNCED),
    (SWITCHED, ANNOUNCED),
    (SWITCHED, SWITCHED),
]
"""What two processes were told, one restart after another, up to the third step."""


async def everybody_goes_on(one: Limen, two: Limen, living: list[Issued]) -> list[Issued]:
    """Let each session be refreshed here and there, its tokens accepted on both sides, and a new one be opened."""
    later = []
    for number, issued in enumerate(living):
        first, second = (one, two) if number % 2 else (two, one)
        assert lets_in(one, issued)
        assert lets_in(two, issued)
        there = await refresh(second, await refresh(first, issued))
        assert there.sid == issued.sid
        later.append(there)
    return [*later, await log_in(one), await log_in(two)]


async def events_of(gate: Limen) -> list[str]:
    """Return the names of everything that happened."""
    return [event.event for event in await gate.storage.events(limit=1000)]


async def test_nobody_is_logged_out(fleet: Fleet) -> None:
    """Sessions of before, during and after the switch go on in every step, at processes that are not equally far."""
    first = second = await fleet.start(*BEFORE)
    await first.accounts.create("ann", PASSWORD)
    living: list[Issued] = []
    for one, two in ROLLING:
        first, second = await fleet.start(*one), await fleet.start(*two)
        living = await everybody_goes_on(first, second, living)
        fleet.ahead += 60
    fleet.ahead += first.settings.refresh_ttl - 300
    living = [await refresh(second, issued) for issued in living]
    fleet.ahead += 300
    for one, two in ((DONE, SWITCHED), (DONE, DONE)):
        first, second = await fleet.start(*one), await fleet.start(*two)
        living = await everybody_goes_on(first, second, living)
    assert len({issued.sid for issued in living}) == len(living) == 14
    assert not {"refresh_refused", "refresh_reused", "session_ended"} & set(await events_of(first))


async def test_who_was_idle_all_the_time_is_not_logged_out(fleet: Fleet) -> None:
    """A token that the old secret signed at the last moment is good until its own end, while the old one is kept."""
    old, switched = await fleet.start(*ANNOUNCED), await fleet.start(*SWITCHED)
    await old.accounts.create("ann", PASSWORD)
    issued = await log_in(old)
    fleet.ahead += old.settings.refresh_ttl - 5
    later = await refresh(switched, issued)
    done = await fleet.start(*DONE)
    assert lets_in(done, later)
    assert (await refresh(done, later)).sid == issued.sid


@pytest.mark.parametrize(
    ("rotates", "restates"), [(ANNOUNCED, SWITCHED), (SWITCHED, ANNOUNCED), (SWITCHED, SWITCHED), (BEFORE, SWITCHED)]
)
async def test_a_lost_answer_is_stated_again_across_the_switch(
    fleet: Fleet, rotates: tuple[str, ...], restates: tuple[str, ...]
) -> None:
    """Within the leeway the retry gets the very same refresh token from a process with the other secret."""
    first, second = await fleet.start(*rotates), await fleet.start(*restates)
    await first.accounts.create("ann", PASSWORD)
    issued = await log_in(first)
    lost = await refresh(first, issued)
    fleet.ahead += 5
    again = await refresh(second, issued)
    assert again.refresh_token == lost.refresh_token
    assert lets_in(second, again)
    assert (await refresh(first, again)).sid == issued.sid


async def test_dropped_at_once_it_ends_what_it_signed(fleet: Fleet) -> None:
    """The emergency: nothing that the old secret signed is accepted, and whoever logs in again is."""
    before = await fleet.start(*BEFORE)
    await before.accounts.create("ann", PASSWORD)
    stolen = await log_in(before)
    after = await fleet.start(*DONE)
    if fleet.kind == "access":
        assert not lets_in(after, stolen)
        assert lets_in(after, await refresh(after, stolen))
    else:
        with pytest.raises(InvalidRefreshToken):
            await refresh(after, stolen)
    assert lets_in(after, await refresh(after, await log_in(after)))
    assert lets_in(before, stolen) is True


async def test_a_process_without_the_secret_refuses_and_ends_nothing(fleet: Fleet) -> None:
    """Where the first step was left out, the process that was left behind refuses, and the others go on."""
    behind, ahead = await fleet.start(*BEFORE), await fleet.start(*SWITCHED)
    await behind.accounts.create("ann", PASSWORD)
    issued = await log_in(ahead)
    if fleet.kind == "access":
        assert not lets_in(behind, issued)
    else:
        with pytest.raises(InvalidRefreshToken):
            await refresh(behind, issued)
    assert lets_in(ahead, issued)
    assert (await refresh(ahead, issued)).sid == issued.sid
    assert not {"refresh_reused", "session_ended"} & set(await events_of(ahead))


@pytest.mark.parametrize("kind", ["refresh"])
async def test_a_retry_at_a_process_without_the_secret_ends_nothing(fleet: Fleet) -> None:
    """It knows the parent's secret but not the successor's: it refuses by that name, and the others state it again."""
    behind, ahead = await fleet.start(*BEFORE), await fleet.start(*SWITCHED)
    await behind.accounts.create("ann", PASSWORD)
    issued = await log_in(behind)
    lost = await refresh(ahead, issued)
    with pytest.raises(InvalidRefreshToken):
        await refresh(behind, issued)
    assert (await refresh(ahead, issued)).refresh_token == lost.refresh_token
    refusals = [event.data for event in await ahead.storage.events(limit=100) if event.event == "refresh_refused"]
    assert refusals == [{"reason": "key_gone"}]


@pytest.mark.parametrize("kind", ["refresh"])
async def test_the_rows_tell_when_the_old_secret_may_go(fleet: Fleet) -> None:
    """A session's row has the id of the secret that signed its token: each refresh after the switch moves it on."""
    before, after = await fleet.start(*ANNOUNCED), await fleet.start(*SWITCHED)
    await before.accounts.create("ann", PASSWORD)
    sessions = [await log_in(before) for _ in range(3)]
    old, new = (gate.door._refresh_keys.current_kid for gate in (before, after))
    assert await after.storage.maintenance.sessions_by_secret() == {old: 3}
    for issued in sessions[:2]:
        await refresh(after, issued)
    assert await after.storage.maintenance.sessions_by_secret() == {old: 1, new: 2}


@pytest.mark.parametrize("kind", ["access"])
async def test_names_that_nobody_has_are_recorded_under_another_hash(fleet: Fleet) -> None:
    """The key of these pseudonyms comes from the access secret: attempts of before and after are not linked."""
    for told in (BEFORE, SWITCHED):
        gate = await fleet.start(*told)
        for _ in range(2):
            with pytest.raises(InvalidCredentials):
                await gate.login.login("a-password-typed-as-a-name", PASSWORD, origin=NOWHERE)
    with closing(sqlite3.connect(fleet.folder / "limen.db")) as connection:
        found = connection.execute("SELECT target FROM limen_events WHERE event = 'login_failed'").fetchall()
    before, again, after, after_again = [target for (target,) in found]
    assert before == again != after == after_again
    assert "typed" not in before + after
