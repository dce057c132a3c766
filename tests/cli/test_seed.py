"""``limen db seed``: made-up accounts in bulk, on both engines, and sessions that nobody can use."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from limen import Limen, Settings
from limen.core.events import Origin
from tests.cli.conftest import PASSWORD, Run
from tests.support.postgres import Databases

ORIGIN = Origin(address="192.0.2.9", user_agent="test", request_id="r")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(
    request: pytest.FixtureRequest, run: Run, installation: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """An installation without accounts, on each engine in turn."""
    if request.param == "sqlite":
        yield
        return
    databases: Databases = request.getfixturevalue("postgres")
    url = databases.create()
    monkeypatch.setenv("LIMEN_DATABASE_URL", url)
    yield
    databases.drop(url)


def counts() -> tuple[int, int, int]:
    """How many sessions the first account has, how many accounts there are, and how many records of making some."""

    async def count() -> tuple[int, int, int]:
        async with Limen(Settings.load()).running() as gate:
            accounts = list((await gate.accounts.page(limit=200)).items)
            sessions = await gate.sessions.of_account(accounts[0].id)
            records = [each for each in await gate.storage.events() if each.event == "account_created"]
            return len(sessions.items), await gate.maintenance.count_accounts(), len(records)

    return asyncio.run(count())


@pytest.mark.usefixtures("empty")
def test_seeded_accounts_log_in_with_the_password_that_is_printed(run: Run) -> None:
    """So many accounts, so many sessions among them, the role they were to have, one record, and one password."""
    done = run("db", "seed", "--accounts", "100", "--sessions", "250", "--role", "admin", "--yes", "--json")
    assert done.code == 0, done.err
    told = done.json
    assert (told["accounts"], told["sessions"]) == (100, 250)

    async def log_in() -> frozenset[str]:
        async with Limen(Settings.load()).running() as gate:
            await gate.login.login(told["last"], told["password"], origin=ORIGIN)
            return (await gate.accounts.by_username(told["first"])).roles

    assert asyncio.run(log_in()) == {"admin"}
    assert counts() == (3, 100, 1)


@pytest.mark.usefixtures("empty")
def test_accounts_that_are_there_are_not_mixed_with_made_up_ones(run: Run) -> None:
    """A database with accounts is refused, and one without --yes; with --add it gets more, under other names."""
    assert run("accounts", "create", "alice", "--password-stdin", stdin=PASSWORD).code == 0
    assert run("db", "seed", "--accounts", "10").code == 2
    refused = run("db", "seed", "--accounts", "10", "--yes")
    assert refused.code == 1
    assert "--add" in refused.err
    for _ in range(2):
        assert run("db", "seed", "--accounts", "10", "--yes", "--add").code == 0
    assert counts()[1] == 21


@pytest.mark.usefixtures("empty")
def test_a_role_that_is_not_there_is_told_before_anything_is_made(run: Run) -> None:
    """An unknown role is wrong usage, and no account is made."""
    done = run("db", "seed", "--accounts", "10", "--role", "nobody-has-this", "--yes")
    assert done.code == 2
    assert "nobody-has-this" in done.err
    assert run("db", "seed", "--accounts", "1", "--yes").code == 0
    assert counts()[1] == 1
