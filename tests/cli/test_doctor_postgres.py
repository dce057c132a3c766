"""``limen doctor`` on PostgreSQL: a real server, and what is made of what a server may be like."""

import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from limen.cli import checkup_postgres
from limen.cli.findings import Finding
from limen.settings import Settings
from limen.storage.sql.migrations import REVISIONS, Schema
from limen.storage.sql.postgres_checkup import ServerFacts
from tests.cli.conftest import PASSWORD, Done, Run
from tests.support.gates import settings_for
from tests.support.postgres import Cluster, Databases, rows

SOUND = ServerFacts(
    version="17.2",
    major=17,
    durable=True,
    settings={"synchronous_commit": "on", "transaction_isolation": "read committed"},
    clock_ahead=0.2,
    superuser=False,
    room=97,
    encrypted=True,
    remote=True,
    creates=True,
    lacking=(),
    owns_all=True,
    rows={"limen_accounts": 10},
    schema=Schema.of(REVISIONS[-1], compatible=False),
)
VERIFIED = "postgresql://limen@db.example/limen?sslmode=verify-full"


def findings(done: Done) -> dict[str, str]:
    """Return how each check about the database stands."""
    return {each["check"]: each["standing"] for each in done.json["findings"]}


def found(facts: ServerFacts, url: str = VERIFIED, pool: int = 10) -> dict[str, Finding]:
    """Return what is made of a server, by what was looked at."""
    made = [
        checkup_postgres._server(facts),
        checkup_postgres._durability(facts),
        checkup_postgres._role(facts),
        *checkup_postgres._rights(facts),
        checkup_postgres._transport(facts, url),
        checkup_postgres._connections(facts, pool),
        checkup_postgres._clock(facts),
    ]
    return {each.what: each for each in made}


@pytest.fixture
def on_postgres(run: Run, installation: Path, postgres: Databases, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installation on PostgreSQL with an account; the URL of its database."""
    url = postgres.create()
    monkeypatch.setenv("LIMEN_DATABASE_URL", url)
    assert run("accounts", "create", "alice", "--password-stdin", stdin=PASSWORD).code == 0
    return url


def test_a_sound_installation_is_0(run: Run, on_postgres: str, postgres: Databases) -> None:
    """Each check has its finding; the tests' server, which is not durable, is warned about, and nothing fails."""
    done = run("doctor", "--json")
    assert (done.code, done.json["ok"]) == (0, True)
    known = findings(done)
    for check in ("database", "schema", "role", "rights", "transport", "connections", "database clock", "size"):
        assert known[check] == "ok", check
    assert known["durability"] == "warn"
    assert "limen@" not in done.out
    postgres.drop(on_postgres)


def test_it_changes_nothing(run: Run, installation: Path, postgres: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database without a schema is told, not migrated."""
    url = postgres.create()
    monkeypatch.setenv("LIMEN_DATABASE_URL", url)
    done = run("doctor", "--json")
    assert (done.code, findings(done)["schema"]) == (0, "warn")
    assert rows(url, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'limen%'") == [(0,)]
    postgres.drop(url)


def test_a_role_without_rights_fails(
    run: Run, on_postgres: str, postgres: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that may not read and write all tables fails; with these rights it cannot migrate, and is warned."""
    role = f"r{urlsplit(on_postgres).path[-12:]}"
    postgres.execute(f'CREATE ROLE "{role}" LOGIN')
    monkeypatch.setenv("LIMEN_DATABASE_URL", on_postgres.replace("//limen@", f"//{role}@"))
    rows(on_postgres, f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"')
    done = run("doctor", "--json")
    assert (done.code, findings(done)["rights"]) == (1, "fail")
    assert "limen_sessions" in done.out
    assert "limen_schema_version" not in done.out
    rows(on_postgres, f'GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{role}"')
    assert "limen_events_seq" in run("doctor", "--json").out
    rows(on_postgres, f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{role}"')
    assert findings(run("doctor", "--json"))["rights"] == "warn"
    monkeypatch.setenv("LIMEN_MIGRATE", "never")
    assert run("accounts", "create", "bob", "--password-stdin", stdin=PASSWORD).code == 0
    postgres.drop(on_postgres)
    postgres.execute(f'DROP ROLE "{role}"')


def test_a_superuser_is_warned(
    run: Run, on_postgres: str, postgres: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that may do anything is more than limen wants."""
    monkeypatch.setenv("LIMEN_DATABASE_URL", postgres.url(urlsplit(on_postgres).path[1:], admin=True))
    assert findings(run("doctor", "--json"))["role"] == "warn"
    postgres.drop(on_postgres)


@pytest.mark.parametrize("place", ["limen:canary@127.0.0.1:1/limen", "nobody_here:canary@127.0.0.1:{port}/none"])
def test_one_that_does_not_let_us_in_fails(
    run: Run, installation: Path, postgres: Databases, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Down, or unwilling: it fails with advice, and the password is nowhere."""
    port = urlsplit(postgres.admin_url).port
    monkeypatch.setenv("LIMEN_DATABASE_URL", f"postgresql://{place.format(port=port)}")
    done = run("doctor", "--json")
    assert (done.code, findings(done)["database"]) == (1, "fail")
    assert ("ConnectionRefusedError" if ":1/" in place else "nobody_here") in done.out
    assert "canary" not in done.out + done.err


@pytest.mark.serial
def test_a_replica_fails(run: Run, installation: Path, own_postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A durable primary is ok in every check; the same server as a replica fails by that name."""
    url = own_postgres.create()
    monkeypatch.setenv("LIMEN_DATABASE_URL", url)
    assert run("db", "upgrade").code == 0
    assert findings(run("doctor", "--json"))["durability"] == "ok"
    own_postgres.stop()
    signal = own_postgres.folder / "data" / "standby.signal"
    signal.touch()
    there = (own_postgres.folder / "data").stat()
    shutil.chown(signal, there.st_uid, there.st_gid)
    own_postgres.start()
    done = run("doctor", "--json")
    assert (done.code, findings(done)["database"]) == (1, "fail")
    assert "is a replica" in done.out


@pytest.mark.parametrize(
    ("check", "standing", "change"),
    [
        ("database", "fail", {"major": 12}),
        ("durability", "warn", {"durable": False}),
        ("durability", "fail", {"settings": {**SOUND.settings, "synchronous_commit": "off"}}),
        ("durability", "fail", {"settings": {**SOUND.settings, "transaction_isolation": "serializable"}}),
        ("database clock", "warn", {"clock_ahead": 2.1}),
        ("database clock", "warn", {"clock_ahead": -2.1}),
        ("transport", "fail", {"encrypted": False}),
        ("connections", "warn", {"room": 19}),
        ("rights", "warn", {"creates": False}),
        ("rights", "warn", {"owns_all": False}),
    ],
)
def test_what_is_made_of_a_server(check: str, standing: str, change: dict[str, object]) -> None:
    """Each thing that is not as it should be is found, and nothing else with it."""
    sound = found(SOUND)
    assert {each.standing for each in sound.values()} == {"ok"}
    changed = found(replace(SOUND, **change))  # type: ignore[arg-type]
    assert changed[check].standing == standing
    assert changed[check].advice
    assert {what for what, each in changed.items() if each.standing != "ok"} == {check}


@pytest.mark.parametrize("query", ["", "?sslmode=require", "?sslmode=prefer"])
def test_a_certificate_that_nobody_checks(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS without a look at the certificate is warned about, unless the environment asks for it."""
    monkeypatch.delenv("PGSSLMODE", raising=False)
    url = f"postgresql://limen@db.example/limen{query}"
    assert found(SOUND, url)["transport"].standing == "warn"
    assert found(replace(SOUND, remote=False, encrypted=False), url)["transport"].standing == "ok"
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert found(SOUND, "postgresql://limen@db.example/limen")["transport"].standing == "ok"


def test_the_room_is_compared_with_the_pool(tmp_path: Path) -> None:
    """What is told is how many processes the connections suffice for, at the pool that is set."""
    settings: Settings = settings_for(tmp_path, database_pool=30)
    told = found(SOUND, pool=settings.database_pool)["connections"]
    assert "3 processes" in told.found
