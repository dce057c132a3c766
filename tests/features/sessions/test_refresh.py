"""Refresh, end to end against a real database: rotation, restatement, reuse, and every way a session ends."""

import asyncio
import base64
import json
import sqlite3
from pathlib import Path

import pytest

from limen import Limen
from limen.authn.issuing import Issued
from limen.authn.strategy import Authenticated, Rejected
from limen.core.errors import AccountNotActive, InvalidRefreshToken, SessionEnded
from limen.core.events import NOWHERE
from tests.features.conftest import Turned
from tests.support.gates import PASSWORD, gate_for, settings_for
from tests.support.waiting import until


async def _login(gate: Limen, username: str = "ann") -> Issued:
    await gate.accounts.create(username, PASSWORD, roles=frozenset({"maker"}))
    return await gate.login.login(username, PASSWORD, origin=NOWHERE)


async def _refused(gate: Limen, token: str) -> None:
    with pytest.raises(InvalidRefreshToken) as refused:
        await gate.sessions.refresh(token, origin=NOWHERE)
    assert (refused.value.detail, refused.value.errors, refused.value.retry_after) == (None, (), None)


async def _events(gate: Limen) -> list[tuple[str, object]]:
    return [(event.event, event.data) for event in await gate.storage.events(limit=200)]


async def test_a_token_rotates_on_each_use(gate: Limen) -> None:
    """Each refresh answers another token of the same session, and the chain goes on."""
    issued = await _login(gate)
    tokens = [issued.refresh_token]
    for _ in range(5):
        issued = await gate.sessions.refresh(tokens[-1], origin=NOWHERE)
        tokens.append(issued.refresh_token)
    assert len(set(tokens)) == 6


async def test_a_lost_answer_is_stated_again(gate: Limen, clock: Turned) -> None:
    """Within the leeway the direct parent gets the very same refresh token, and the session goes on."""
    first = await _login(gate)
    second = await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
    clock.ahead += 9
    again = await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
    assert again.refresh_token == second.refresh_token
    assert again.access_token != second.access_token
    third = await gate.sessions.refresh(again.refresh_token, origin=NOWHERE)
    assert third.sid == first.sid


async def test_the_window_does_not_slide(gate: Limen, clock: Turned) -> None:
    """Stating again does not prolong the leeway: it runs from the rotation."""
    first = await _login(gate)
    second = await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
    clock.ahead += 6
    again = await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
    assert again.refresh_token == second.refresh_token
    clock.ahead += 6
    await _refused(gate, first.refresh_token)
    await _refused(gate, second.refresh_token)


@pytest.mark.parametrize("uses", [1, 2])
async def test_a_spent_token_ends_the_session(gate: Limen, clock: Turned, uses: int) -> None:
    """A token used again after the leeway, or a grandparent at any time, ends the session and its access tokens."""
    first = await _login(gate)
    issued = first
    for _ in range(uses):
        issued = await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    if uses == 1:
        clock.ahead += 10.1
    await _refused(gate, first.refresh_token)
    await _refused(gate, issued.refresh_token)
    outcome = gate.chain.recall([(b"authorization", b"Bearer " + issued.access_token.encode())])
    assert isinstance(outcome, Rejected)
    assert outcome.error.code == "session_ended"
    reused = [data for name, data in await _events(gate) if name == "refresh_reused"]
    assert len(reused) == 1
    assert isinstance(reused[0], dict)
    assert reused[0]["gap"] == uses


async def test_fifty_at_once_are_one_successor(gate: Limen) -> None:
    """Of fifty parallel uses one rotates, the others are told the same, and nobody is logged out."""
    first = await _login(gate)
    answers = await asyncio.gather(*[gate.sessions.refresh(first.refresh_token, origin=NOWHERE) for _ in range(50)])
    assert len({answer.refresh_token for answer in answers}) == 1
    names = [name for name, _ in await _events(gate)]
    assert (names.count("refreshed"), names.count("refresh_restated")) == (1, 49)
    await gate.sessions.refresh(answers[0].refresh_token, origin=NOWHERE)


async def test_strict_means_one_winner_and_the_end(tmp_path: Path) -> None:
    """With leeway 0 one of fifty wins, the first duplicate ends the session, and it is told once."""
    async with gate_for(tmp_path, refresh_leeway=0).running() as gate:
        first = await _login(gate)
        answers = await asyncio.gather(
            *[gate.sessions.refresh(first.refresh_token, origin=NOWHERE) for _ in range(50)], return_exceptions=True
        )
        winners = [answer for answer in answers if isinstance(answer, Issued)]
        assert len(winners) == 1
        assert sum(isinstance(answer, InvalidRefreshToken) for answer in answers) == 49
        await _refused(gate, winners[0].refresh_token)
        names = [name for name, _ in await _events(gate)]
        assert names.count("refresh_reused") == 1


async def test_idle_and_absolute_end(gate: Limen, clock: Turned) -> None:
    """Unused for seven days a token is over; used all the time, the session is over after ninety."""
    idle = await _login(gate, "idle")
    busy = await _login(gate, "busy")
    for _ in range(15):
        clock.ahead += 6 * 86_400
        if clock.ahead < 90 * 86_400:
            busy = await gate.sessions.refresh(busy.refresh_token, origin=NOWHERE)
    assert clock.ahead == 90 * 86_400
    await _refused(gate, busy.refresh_token)
    await _refused(gate, idle.refresh_token)
    assert "refresh_reused" not in [name for name, _ in await _events(gate)]


async def test_the_last_token_is_cut_to_the_end_of_the_session(gate: Limen, clock: Turned) -> None:
    """What is told as the refresh token's life never goes beyond the session's absolute end."""
    issued = await _login(gate)
    for _ in range(14):
        clock.ahead += 6 * 86_400
        issued = await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    assert 6 * 86_400 - 60 <= issued.refresh_expires_in <= 6 * 86_400


async def test_a_store_that_was_rolled_back_is_noticed(gate: Limen, tmp_path: Path) -> None:
    """A token newer than its row means that a backup came back: the session ends and the event says so."""
    issued = await _login(gate)
    for _ in range(3):
        issued = await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    with sqlite3.connect(tmp_path / "limen.db") as connection:
        connection.execute("UPDATE limen_sessions SET generation = 1")
    connection.close()
    await _refused(gate, issued.refresh_token)
    assert "store_rolled_back" in [name for name, _ in await _events(gate)]
    await _refused(gate, issued.refresh_token)


async def test_a_broken_row_ends_nothing(gate: Limen, tmp_path: Path) -> None:
    """Where the successor does not fit the stored hash the answer is a 500, and the session stays."""
    first = await _login(gate)
    second = await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
    with sqlite3.connect(tmp_path / "limen.db") as connection:
        connection.execute("UPDATE limen_sessions SET nonce = zeroblob(16)")
    connection.close()
    with pytest.raises(Exception, match="wrong on our side"):
        await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
    assert (await gate.sessions.refresh(second.refresh_token, origin=NOWHERE)).sid == first.sid


async def test_roles_of_now_are_in_the_next_token(gate: Limen, tmp_path: Path) -> None:
    """A role that was taken away is in no token that is issued afterwards."""
    issued = await _login(gate)
    with sqlite3.connect(tmp_path / "limen.db") as connection:
        connection.execute("DELETE FROM limen_account_roles")
    connection.close()
    issued = await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)
    outcome = gate.chain.recall([(b"authorization", b"Bearer " + issued.access_token.encode())])
    assert isinstance(outcome, Authenticated)
    assert outcome.principal.roles == frozenset()
    assert outcome.principal.permissions == frozenset()


async def test_secrets_are_replaced_without_logging_anyone_out(tmp_path: Path) -> None:
    """A token under the previous secret rotates to one under the new one; a replay is stated under its own secret."""
    old, new = "o" * 5 + "1d-refresh-secret-for-a-rotation-test", "n" * 3 + "3w-refresh-secret-for-a-rotation-test"
    settings = settings_for(tmp_path, jwt_refresh_secret=old)
    async with Limen(settings).running() as before:
        await before.accounts.create("ann", PASSWORD)
        first = await before.login.login("ann", PASSWORD, origin=NOWHERE)
        second = await before.sessions.refresh(first.refresh_token, origin=NOWHERE)
    access = settings.jwt_access_secret
    values = {"jwt_access_secret": access, "jwt_refresh_secret": new}
    async with Limen(settings_for(tmp_path, **values)).running() as without:
        await _refused(without, second.refresh_token)
    async with Limen(settings_for(tmp_path, **values, jwt_refresh_secrets_accepted=old)).running() as after:
        again = await after.sessions.refresh(first.refresh_token, origin=NOWHERE)
        assert again.refresh_token == second.refresh_token
        third = await after.sessions.refresh(second.refresh_token, origin=NOWHERE)
    async with Limen(settings_for(tmp_path, **values)).running() as later:
        assert (await later.sessions.refresh(third.refresh_token, origin=NOWHERE)).sid == first.sid


@pytest.mark.parametrize("what", ["current", "parent", "expired"])
async def test_logout_takes_any_generation(gate: Limen, clock: Turned, what: str) -> None:
    """Whoever lost the answer can still leave; doing it again is no error, and the access token dies too."""
    first = await _login(gate)
    second = await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
    if what == "expired":
        clock.ahead += 8 * 86_400
    token = first.refresh_token if what == "parent" else second.refresh_token
    for _ in range(2):
        await gate.sessions.logout(token, origin=NOWHERE)
    await _refused(gate, second.refresh_token)
    assert second.sid in gate.ended
    assert [name for name, _ in await _events(gate)].count("session_ended") == 1


async def test_logout_of_somebody_elses_session_is_impossible(gate: Limen) -> None:
    """An access token, or a token that is not signed here, ends no session."""
    issued = await _login(gate)
    for token in (issued.access_token, issued.refresh_token[:-2] + "AA", "", "a.b.c"):
        await gate.sessions.logout(token, origin=NOWHERE)
    assert (await gate.sessions.refresh(issued.refresh_token, origin=NOWHERE)).sid == issued.sid


async def test_logout_races_refresh(gate: Limen) -> None:
    """Whatever the order of a logout and seven refreshes, nothing lives after the logout was acknowledged."""
    await gate.accounts.create("ann", PASSWORD)
    for _ in range(20):
        issued = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
        refreshes = [gate.sessions.refresh(issued.refresh_token, origin=NOWHERE) for _ in range(7)]
        answers = await asyncio.gather(
            *refreshes[:3],
            gate.sessions.logout(issued.refresh_token, origin=NOWHERE),
            *refreshes[3:],
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, Issued):
                await _refused(gate, answer.refresh_token)
                outcome = gate.chain.recall([(b"authorization", b"Bearer " + answer.access_token.encode())])
                assert isinstance(outcome, Rejected)


async def test_logout_everywhere(gate: Limen) -> None:
    """All sessions of the account end, and nobody else's."""
    mine = [await _login(gate, "ann")] + [await gate.login.login("ann", PASSWORD, origin=NOWHERE) for _ in range(2)]
    other = await _login(gate, "bob")
    assert await gate.sessions.logout_everywhere(mine[0].account_id, actor="ann", origin=NOWHERE) == 3
    for issued in mine:
        await _refused(gate, issued.refresh_token)
        assert issued.sid in gate.ended
    assert (await gate.sessions.refresh(other.refresh_token, origin=NOWHERE)).sid == other.sid


async def test_another_process_learns_of_an_ended_session(gate: Limen, tmp_path: Path) -> None:
    """What ends here is on the list of every process that shares the database, after its next look."""
    issued = await _login(gate)
    settings = gate.settings.model_copy()
    async with Limen(settings).running() as other:
        await gate.sessions.logout(issued.refresh_token, origin=NOWHERE)
        await until(lambda: issued.sid in other.ended)
        outcome = other.chain.recall([(b"authorization", b"Bearer " + issued.access_token.encode())])
        assert isinstance(outcome, Rejected)


async def test_the_list_forgets_what_no_token_can_belong_to(gate: Limen, clock: Turned) -> None:
    """An entry leaves the list when the last access token of its session has expired, with a margin."""
    issued = await _login(gate)
    await gate.sessions.logout(issued.refresh_token, origin=NOWHERE)
    clock.ahead += 900
    gate.ended.forget_before(int(clock() * 1000))
    assert issued.sid in gate.ended
    clock.ahead += 61
    gate.ended.forget_before(int(clock() * 1000))
    assert issued.sid not in gate.ended


async def test_live_asks_the_database(gate: Limen, tmp_path: Path) -> None:
    """The live check sees roles, state and session as they are, not as the token says."""
    issued = await _login(gate)
    outcome = gate.chain.recall([(b"authorization", b"Bearer " + issued.access_token.encode())])
    assert isinstance(outcome, Authenticated)
    assert await gate.live(outcome.principal) == outcome.principal
    with sqlite3.connect(tmp_path / "limen.db") as connection:
        connection.execute("DELETE FROM limen_account_roles")
    connection.close()
    assert (await gate.live(outcome.principal)).roles == frozenset()
    with sqlite3.connect(tmp_path / "limen.db") as connection:
        connection.execute("UPDATE limen_accounts SET status = 'disabled'")
    connection.close()
    with pytest.raises(AccountNotActive):
        await gate.live(outcome.principal)
    with sqlite3.connect(tmp_path / "limen.db") as connection:
        connection.execute("UPDATE limen_accounts SET status = 'active', session_epoch = session_epoch + 1")
    connection.close()
    with pytest.raises(SessionEnded):
        await gate.live(outcome.principal)


async def test_the_database_holds_no_token(gate: Limen, tmp_path: Path) -> None:
    """Neither a token, nor a secret part, nor a password is in the file."""
    first = await _login(gate)
    second = await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
    await gate.stop()
    stored = await asyncio.to_thread(lambda: b"".join(path.read_bytes() for path in tmp_path.iterdir()))
    for issued in (first, second):
        payload = issued.refresh_token.split(".")[1]
        secret = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"]
        raw = base64.urlsafe_b64decode(secret + "=")
        for canary in (issued.refresh_token, issued.access_token, secret):
            assert canary.encode() not in stored
        assert raw not in stored
    assert PASSWORD.encode() not in stored


async def test_a_successor_of_before_a_rollback_is_not_the_current_one(gate: Limen, tmp_path: Path) -> None:
    """After a rollback the parent may rotate anew; the successor of before has the right generation and still fails."""
    first = await _login(gate)
    with sqlite3.connect(tmp_path / "limen.db") as connection:
        columns = "generation, token_hash, parent_hash, nonce, rotated_at"
        row = connection.execute(f"SELECT {columns} FROM limen_sessions").fetchone()
    lost = await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
    with connection:
        connection.execute(
            "UPDATE limen_sessions SET generation = ?, token_hash = ?, parent_hash = ?, nonce = ?, rotated_at = ?", row
        )
    connection.close()
    anew = await gate.sessions.refresh(first.refresh_token, origin=NOWHERE)
    assert anew.refresh_token != lost.refresh_token
    await _refused(gate, lost.refresh_token)
    assert "store_rolled_back" in [name for name, _ in await _events(gate)]


@pytest.mark.parametrize("ahead", [30, 3600])
async def test_a_clock_that_was_ahead_hides_no_ending(gate: Limen, clock: Turned, ahead: int) -> None:
    """After a logout under a clock that was ahead, later logouts and switching off still end access tokens."""
    account = await gate.accounts.create("ann", PASSWORD)
    clock.ahead += ahead
    first = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    await gate.sessions.logout(first.refresh_token, origin=NOWHERE)
    clock.ahead -= ahead
    second = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    await gate.sessions.logout(second.refresh_token, origin=NOWHERE)
    assert second.sid in gate.ended
    third = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
    await gate.accounts.disable(account, actor="test")
    assert third.sid in gate.ended


async def test_a_dead_token_fills_no_audit_trail(gate: Limen, clock: Turned) -> None:
    """The refusal of an ended session's token is written once a minute, however often it is sent."""
    issued = await _login(gate)
    await gate.sessions.logout(issued.refresh_token, origin=NOWHERE)
    for _ in range(20):
        await _refused(gate, issued.refresh_token)
    assert [name for name, _ in await _events(gate)].count("refresh_refused") == 1
    clock.ahead += 61
    await _refused(gate, issued.refresh_token)
    assert [name for name, _ in await _events(gate)].count("refresh_refused") == 2
