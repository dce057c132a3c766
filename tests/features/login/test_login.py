"""Login: one answer for every failure, the same work, and a record that tells no secret."""

import sqlite3
from pathlib import Path

import pytest

from limen import Limen
from limen.core.errors import InvalidCredentials, InvalidInput
from limen.core.events import NOWHERE, Origin
from limen.crypto.passwords import PasswordHasher
from tests.support.gates import PASSWORD, gate_for

ORIGIN = Origin("request-1", "192.0.2.1", "a browser")


async def test_any_spelling_of_the_name_logs_in(gate: Limen) -> None:
    """The name is compared after NFKC and case folding; the password exactly as sent."""
    await gate.accounts.create("Ann", PASSWORD)
    await gate.login.login("\uff21NN", PASSWORD, origin=NOWHERE)
    for wrong in (PASSWORD.upper(), PASSWORD + " ", " " + PASSWORD):
        with pytest.raises(InvalidCredentials):
            await gate.login.login("ann", wrong, origin=NOWHERE)


async def test_failures_are_recorded_without_what_was_typed(gate: Limen, tmp_path: Path) -> None:
    """An unknown name, which may be a mistyped password, is recorded as a keyed hash; a known account by its id."""
    account = await gate.accounts.create("ann", PASSWORD)
    for username, password in (("ann", "wrong-canary-1"), ("unknown-canary-2", PASSWORD)):
        with pytest.raises(InvalidCredentials):
            await gate.login.login(username, password, origin=ORIGIN)
    failures = [event for event in await gate.storage.events(limit=50) if event.event == "login_failed"]
    assert [event.data["reason"] for event in failures] == ["wrong_password", "unknown_account"]
    assert failures[0].target == account.id
    assert failures[1].target.startswith("unknown:")
    assert {(event.source, event.request_id, event.actor) for event in failures} == {("192.0.2.1", "request-1", "")}
    assert "canary" not in repr(await gate.storage.events(limit=50))


async def test_a_success_is_recorded(gate: Limen) -> None:
    """The record names the account and the session that was opened."""
    account = await gate.accounts.create("ann", PASSWORD)
    issued = await gate.login.login("ann", PASSWORD, origin=ORIGIN)
    events = await gate.storage.events(limit=50)
    event = next(event for event in events if event.event == "login_succeeded")
    assert (event.actor, event.target, event.outcome) == (account.id, issued.sid, "success")


async def test_every_failure_hashes_once(gate: Limen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown, wrong, disabled and blocked each cost one verification; an unknown one against nothing stored."""
    for name in ("ann", "off", "blocked"):
        await gate.accounts.create(name, PASSWORD)
    await gate.accounts.disable(await gate.accounts.by_username("off"), actor="test")
    await gate.accounts.block(await gate.accounts.by_username("blocked"), actor="test")
    seen: list[bool] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, password: str, stored: str | None) -> object:
        seen.append(stored is not None)
        return verify(self, password, stored)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    for username, password in (("nobody", PASSWORD), ("ann", "wrong"), ("off", PASSWORD), ("blocked", PASSWORD)):
        with pytest.raises(InvalidCredentials):
            await gate.login.login(username, password, origin=NOWHERE)
    assert seen == [False, True, True, True]


async def test_a_login_rehashes_to_the_setting(tmp_path: Path) -> None:
    """A row of another scheme or a lower cost is made anew by a login that succeeds, and only by one."""
    async with gate_for(tmp_path).running() as gate:
        await gate.accounts.create("ann", PASSWORD)
    low = PasswordHasher("bcrypt", bcrypt_cost=4).hash(PASSWORD)

    def stored() -> str:
        with sqlite3.connect(tmp_path / "limen.db") as connection:
            row = connection.execute("SELECT password_hash FROM limen_accounts").fetchone()
        connection.close()
        return str(row[0])

    with sqlite3.connect(tmp_path / "limen.db") as connection:
        connection.execute("UPDATE limen_accounts SET password_hash = ?", (low,))
    connection.close()
    async with gate_for(tmp_path, password_hasher="argon2id").running() as gate:
        with pytest.raises(InvalidCredentials):
            await gate.login.login("ann", "wrong", origin=NOWHERE)
        assert stored() == low
        before = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
        assert "argon2id" in stored()
        again = await gate.login.login("ann", PASSWORD, origin=NOWHERE)
        assert (await gate.accounts.by_username("ann")).id == again.account_id
        names = [event.event for event in await gate.storage.events(limit=50)]
        assert names.count("password_rehashed") == 1
        assert before.sid not in gate.ended


async def test_what_can_be_no_password_is_refused_without_a_hash(gate: Limen) -> None:
    """A password over the bound is a 422 for everybody: it tells nothing about accounts."""
    await gate.accounts.create("ann", PASSWORD)
    for username in ("ann", "nobody"):
        with pytest.raises(InvalidInput):
            await gate.login.login(username, "x" * 10_000_000, origin=NOWHERE)
