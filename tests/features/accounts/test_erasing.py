"""A deleted account is gone from every table, and its id stays in the trail."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from limen import Limen, Settings
from limen.core.errors import InvalidCredentials, LimenError, Unavailable
from limen.core.events import NOWHERE, Event, EventName, Origin
from limen.features.accounts.store import Account
from limen.features.roles.service import OPERATOR

PASSWORD = "a long enough pass phrase"
SECRET = "xK4-9fQzT7wLm2RvYb8NcJ5hGd3sPa6E"
NAME, ADDRESS, AGENT = "wilhelmina", "wilhelmina.q@personal.example", "Wilhelmina's telephone"
SOURCE = "198.51.100.77"
HERE = Origin(request_id="request-w", address=SOURCE, user_agent=AGENT)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation with mail and a sealed trail."""
    return Settings.load(
        database_url=f"sqlite:///{tmp_path}/limen.db",
        jwt_access_secret="a" + SECRET,
        jwt_refresh_secret="b" + SECRET,
        data_secrets="c" + SECRET,
        issuer="https://shop.example.com",
        audience="shop",
        public_url="https://shop.example.com",
        smtp_url="smtp://127.0.0.1:9",
        mail_from="shop@shop.example.com",
        bcrypt_cost=10,
    )


@pytest.fixture
async def gate(settings: Settings) -> AsyncIterator[Limen]:
    """A gate without anything in the background."""
    made = Limen(settings, roles={"admin": ["accounts:delete", "roles:assign"], "maker": ["order:create"]})
    async with made.running():
        for task in made._background:
            task.cancel()
        yield made


def rows(path: Path) -> dict[str, str]:
    """Return what lies in each table, as text."""
    with closing(sqlite3.connect(path)) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: repr(file.execute(f'SELECT * FROM "{name}"').fetchall()) for name in tables}


async def lived(gate: Limen) -> Account:
    """Make an account, and let it leave its traces wherever it can."""
    account = await gate.accounts.create(NAME, PASSWORD, email=ADDRESS, roles=frozenset({"maker"}), origin=HERE)
    issued = await gate.login.login(NAME, PASSWORD, origin=HERE)
    assert issued.refresh_token is not None
    once = await gate.sessions.refresh(issued.refresh_token, origin=HERE)
    await gate.login.login(NAME, PASSWORD, origin=HERE)
    with pytest.raises(InvalidCredentials):
        await gate.login.login(NAME, "x" + PASSWORD, origin=HERE)
    await gate.accounts.change_password(account.id, PASSWORD, "another long pass phrase", sid=None, origin=HERE)
    with pytest.raises(LimenError):
        await gate.sessions.refresh(once.refresh_token or "", origin=HERE)
    assert gate.recovery is not None
    await gate.recovery.forgot(ADDRESS, origin=NOWHERE)
    await gate.login.login(NAME, "another long pass phrase", origin=HERE)
    return account


async def test_nothing_personal_is_left_anywhere(gate: Limen, tmp_path: Path) -> None:
    """Name, address and device were in many tables, and are in none afterwards; the id is in the trail, which holds."""
    account = await lived(gate)
    path = tmp_path / "limen.db"
    before = {name for name, text in rows(path).items() if any(each in text for each in (NAME, ADDRESS, AGENT, SOURCE))}
    assert before >= {"limen_accounts", "limen_sessions", "limen_events", "limen_mails"}
    await gate.audit.seal()
    assert await gate.erasures.work() == 0
    await gate.administration.delete(OPERATOR, account.id)
    assert await gate.erasures.work() == 1
    left = {
        (name, each)
        for name, text in rows(path).items()
        for each in (NAME, ADDRESS, AGENT, SOURCE, "wilhelmina", "personal.example")
        if each in text.casefold() or each in text
    }
    assert left == set()
    assert account.id in rows(path)["limen_events"]
    await gate.audit.seal()
    verdict = await gate.audit.verify()
    assert (verdict.findings, verdict.waiting) == ([], 0)
    assert await gate.erasures.work() == 0, "it is done once"


async def test_what_a_crash_interrupts_is_done_by_another(
    gate: Limen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deletion writes down what is to be erased; a process that fails leaves it to the next, after its time."""
    account = await lived(gate)
    path = tmp_path / "limen.db"

    async def failing(*_args: object, **_named: object) -> int:
        raise Unavailable

    with monkeypatch.context() as broken:
        broken.setattr(gate.audit, "erase_details", failing)
        await gate.administration.delete(OPERATOR, account.id)
        await gate.erasures.work_now()
    assert AGENT in rows(path)["limen_events"]
    assert NAME not in rows(path)["limen_accounts"]
    assert await gate.erasures.work() == 0, "another process may be at it"
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE limen_erasures SET lease_until = 0")
        file.commit()
    assert await gate.erasures.work() == 1
    assert SOURCE not in rows(path)["limen_events"]
    assert rows(path)["limen_erasures"] == "[]"


async def test_a_deletion_that_fails_erases_nothing(gate: Limen, tmp_path: Path) -> None:
    """Whoever is not deleted, since it is the last administrator, is not written down either."""
    chief = await gate.accounts.create("chief", PASSWORD, roles=frozenset({"admin"}), origin=HERE)
    with pytest.raises(LimenError) as refused:
        await gate.administration.delete(OPERATOR, chief.id)
    assert refused.value.code == "conflict"
    assert await gate.erasures.work() == 0
    assert SOURCE in rows(tmp_path / "limen.db")["limen_events"]


async def test_what_others_did_is_left(gate: Limen, tmp_path: Path) -> None:
    """Details of the acts of others stay; of the deleted one's acts the name, the actor and the target do."""
    account = await lived(gate)
    other = Event(EventName.ROLE_CREATED, actor="somebody", target="a-role", origin=HERE, data={"x": 1})
    await gate.sessions.record(other)
    await gate.administration.delete(OPERATOR, account.id)
    await gate.erasures.work()
    with closing(sqlite3.connect(tmp_path / "limen.db")) as file:
        kept = file.execute("SELECT event, source FROM limen_events WHERE source <> ''").fetchall()
        told = file.execute("SELECT DISTINCT event FROM limen_events WHERE target = ?", [account.id]).fetchall()
    assert ("role_created", SOURCE) in kept
    assert {("account_created",), ("password_changed",), ("account_deleted",), ("details_erased",)} <= set(told)
