"""``limen secrets``: a fresh secret, and which secrets are in use."""

import asyncio
from pathlib import Path

import pytest

from limen import Limen, Settings
from limen.core.events import NOWHERE
from limen.crypto.keys import key_id
from limen.settings.secret_strength import weakness_of
from tests.cli.conftest import PASSWORD, Run


async def log_in() -> None:
    """Open two sessions of the account."""
    async with Limen(Settings.load()).running() as gate:
        for _ in range(2):
            await gate.login.login("alice", PASSWORD, origin=NOWHERE)


@pytest.fixture
def used(run: Run, installation: Path) -> Path:
    """An installation with an account that has two sessions; its folder."""
    assert run("accounts", "create", "alice", "--password-stdin", stdin=PASSWORD).code == 0
    asyncio.run(log_in())
    return installation


def test_new_prints_one_that_the_settings_accept(run: Run, clean_environment: Path) -> None:
    """Each is another, nothing else is printed, and nothing is written."""
    first, second = run("secrets", "new"), run("secrets", "new", "--json")
    fresh = [first.out.removesuffix("\n"), second.json["secret"]]
    assert len(set(fresh)) == 2
    assert all(weakness_of(secret) is None and len(secret) == 64 for secret in fresh)
    assert list(clean_environment.iterdir()) == []


def test_list_tells_which_secret_encrypts(run: Run, used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of the data secrets encrypts, the others decrypt; each by its id."""
    fresh = [run("secrets", "new").out.strip() for _ in range(2)]
    monkeypatch.setenv("LIMEN_DATA_SECRETS", ",".join(fresh))
    items = [item for item in run("secrets", "list", "--json").json["items"] if item["of"] == "data"]
    assert items == [
        {"of": "data", "kid": key_id(fresh[0].encode()), "use": "encrypts"},
        {"of": "data", "kid": key_id(fresh[1].encode()), "use": "decrypts"},
    ]


def test_list_follows_a_replacement(run: Run, used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the three steps the ids, their uses and the sessions of each are told, and never a secret."""
    settings = Settings.load()
    old, fresh = settings.jwt_refresh_secret.get_secret_value(), run("secrets", "new").out.strip()

    def refresh_rows() -> list[tuple[str, int]]:
        done = run("secrets", "list", "--json")
        assert done.code == 0
        assert old not in done.out
        assert fresh not in done.out
        return [(item["use"], item["sessions"]) for item in done.json["items"] if item["of"] == "refresh"]

    assert refresh_rows() == [("signs", 2)]
    monkeypatch.setenv("LIMEN_JWT_REFRESH_SECRETS_ACCEPTED", fresh)
    assert refresh_rows() == [("signs", 2), ("accepted", 0)]
    monkeypatch.setenv("LIMEN_JWT_REFRESH_SECRET", fresh)
    monkeypatch.setenv("LIMEN_JWT_REFRESH_SECRETS_ACCEPTED", old)
    assert refresh_rows() == [("signs", 0), ("accepted", 2)]
    asyncio.run(log_in())
    assert refresh_rows() == [("signs", 2), ("accepted", 2)]
    monkeypatch.delenv("LIMEN_JWT_REFRESH_SECRETS_ACCEPTED")
    assert refresh_rows() == [("signs", 2), ("unknown", 2)]


def test_list_is_a_table_for_people(run: Run, used: Path) -> None:
    """Without ``--json`` there is a line a secret, and none of it is the secret."""
    done = run("secrets", "list")
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["of", "kid", "use", "sessions"]
    assert [(line[0], line[2:]) for line in lines[1:]] == [
        ("access", ["signs"]),
        ("refresh", ["signs", "2"]),
        ("data", ["encrypts"]),
    ]
    values = (Path(".env").read_text(encoding="utf-8").partition("SECRET=")[2]).split()
    assert values[0] not in done.out
