import asyncio
import json
import re
import sqlite3
from pathlib import Path

import pytest

from limen import Limen
from limen.cli.terminal import table
from limen.core.errors import InvalidCredentials, PasswordChangeRequired
from limen.core.events import NOWHERE
from tests.cli.conftest import PASSWORD, Run


def make(run: Run, name: str, *options: str) -> None:
    """Make an account."""
    assert run("accounts", "create", name, "--password-stdin", *options, stdin=PASSWORD + "\n").code == 0


def sync_roles(**roles: list[str]) -> None:
    """Start an application that declares roles, as an operator's installation has by the time it makes accounts."""

    async def once() -> None:
        async with Limen.from_env(roles=roles).running():
            pass

    asyncio.run(once())


@pytest.mark.usefixtures("installation")
def test_create_prints_the_account_as_json_and_no_password(run: Run) -> None:
    """``create --json`` prints id, name, address, state and roles, and neither the password nor its hash."""
    done = run(
        "accounts", "create", "Alice", "--email", "a@b.example", "--password-stdin", "--json", stdin=PASSWORD + "\n"
    )
    assert done.code == 0
    assert {**done.json, "id": "", "created_at": ""} == {
        "id": "",
        "username": "alice",
        "email": "a@b.example",
        "status": "active",
        "roles": [],
        "created_at": "",
        "password_temporary": False,
    }
    assert PASSWORD not in done.out + done.err
    assert "$2b$" not in done.out + done.err


@pytest.mark.usefixtures("installation")
def test_create_accepts_the_roles_an_application_declared(run: Run) -> None:
    """``--role`` takes a role that an application wrote into the database, and refuses another with 1."""
    sync_roles(maker=["order:create"], checker=["order:approve"])
    make(run, "bob", "--role", "maker", "--role", "checker")
    assert run("accounts", "show", "bob", "--json").json["roles"] == ["checker", "maker"]
    refused = run("accounts", "create", "eve", "--role", "root", "--password-stdin", "--json", stdin=PASSWORD)
    assert (refused.code, refused.problem["code"]) == (1, "invalid_input")
    assert run("accounts", "show", "eve").code == 1


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize(
    ("password", "code"), [("Kz8+q", "password_too_short"), ("passwordpassword", "password_too_common")]
)
def test_create_holds_the_rules_for_passwords(run: Run, password: str, code: str) -> None:
    """The operator is held to the same rules for passwords as everybody: exit 1, and the reason."""
    refused = run("accounts", "create", "alice", "--password-stdin", "--json", stdin=password + "\n")
    assert (refused.code, refused.problem["code"], refused.problem["exit"]) == (1, code, 1)
    assert password not in refused.out + refused.err


@pytest.mark.usefixtures("installation")
def test_create_needs_a_terminal_or_standard_input(run: Run) -> None:
    """Where nobody can be asked and no password is handed in, ``create`` is wrong usage: 2, and how it is done."""
    refused = run("accounts", "create", "alice", stdin=PASSWORD)
    assert refused.code == 2
    assert "--password-stdin" in refused.err


@pytest.mark.usefixtures("installation")
def test_password_is_exactly_the_line(run: Run) -> None:
    """Spaces around the password are part of it; only the line's end is not."""
    run("accounts", "create", "alice", "--password-stdin", stdin=f"  {PASSWORD} \r\nanother line")

    async def matches(password: str) -> bool:
        async with Limen.from_env().running() as gate:
            return (await gate.accounts.check_password("alice", password)).account is not None

    assert asyncio.run(matches(f"  {PASSWORD} "))
    assert not asyncio.run(matches(PASSWORD))


@pytest.mark.usefixtures("installation")
def test_a_name_is_made_once(run: Run) -> None:
    """A second account of a name, in whatever spelling, is refused with 1 and ``username_taken``."""
    make(run, "alice")
    refused = run("accounts", "create", "ALICE", "--password-stdin", "--json", stdin=PASSWORD)
    assert (refused.code, refused.problem["code"]) == (1, "username_taken")


@pytest.mark.usefixtures("installation")
def test_list_pages_and_searches(run: Run) -> None:
    """``list`` gives ``items`` and ``next``; ``--after`` goes on there; ``--query`` finds a part."""
    for name in ("carol", "alice", "bob"):
        make(run, name)
    first = run("accounts", "list", "--limit", "2", "--json").json
    assert [account["username"] for account in first["items"]] == ["alice", "bob"]
    rest = run("accounts", "list", "--after", first["next"], "--json").json
    assert [account["username"] for account in rest["items"]] == ["carol"]
    assert rest["next"] is None
    found = run("accounts", "list", "--query", "aro", "--json").json
    assert [account["username"] for account in found["items"]] == ["carol"]
    assert run("accounts", "list", "--limit", "201").code == 2


@pytest.mark.usefixtures("installation")
def test_states_go_their_own_ways(run: Run) -> None:
    """Enable undoes disable, unblock undoes block, neither the other (1), and doing it twice is 0."""
    make(run, "alice")
    for verb, code, status in [
        ("disable", 0, "disabled"),
        ("disable", 0, "disabled"),
        ("unblock", 1, "disabled"),
        ("block", 1, "disabled"),
        ("enable", 0, "active"),
        ("block", 0, "blocked"),
        ("enable", 1, "blocked"),
        ("unblock", 0, "active"),
    ]:
        assert run("accounts", verb, "Alice").code == code, verb
        assert run("accounts", "show", "alice", "--json").json["status"] == status, verb


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize(
    "verb", ["show", "disable", "enable", "block", "unblock", "delete --yes", "end-sessions", "set-password"]
)
def test_an_unknown_name_is_1(run: Run, verb: str) -> None:
    """A name that nobody has is answered with 1 and ``not_found``."""
    refused = run("accounts", *verb.split(), "nobody", "--json")
    assert (refused.code, refused.out, refused.problem["code"]) == (1, "", "not_found")


@pytest.mark.usefixtures("installation")
def test_delete_asks_and_is_final(run: Run) -> None:
    """Without ``--yes`` and without a terminal nothing is done (2); with it the account is gone, its name free."""
    make(run, "alice", "--email", "a@b.example")
    account_id = run("accounts", "show", "alice", "--json").json["id"]
    asked = run("accounts", "delete", "alice")
    assert asked.code == 2
    assert "--yes" in asked.err
    done = run("accounts", "delete", "Alice", "--yes", "--json")
    assert (done.code, done.json) == (0, {"id": account_id, "username": "alice", "status": "deleted"})
    assert run("accounts", "show", "alice").code == 1
    assert run("accounts", "list", "--json").json["items"] == []
    make(run, "alice")
    assert run("accounts", "delete", "alice", "-y").out.startswith("alice was deleted; the id ")


@pytest.mark.usefixtures("installation")
def test_end_sessions_tells_how_many(run: Run) -> None:
    """Each session of the account ends, and the account stays."""
    make(run, "alice")

    async def log_in() -> None:
        async with Limen.from_env().running() as gate:
            await gate.login.login("alice", PASSWORD, origin=NOWHERE)

    for _ in range(2):
        asyncio.run(log_in())
    done = run("accounts", "end-sessions", "alice", "--json")
    assert (done.code, done.json["username"], done.json["ended"]) == (0, "alice", 2)
    assert run("accounts", "end-sessions", "alice").out == "0 sessions of alice ended.\n"
    asyncio.run(log_in())


@pytest.mark.usefixtures("installation")
def test_set_password_shows_a_temporary_one_once(run: Run) -> None:
    """It is all of standard output, it opens nothing but the way to another one, and it is in no other answer."""
    make(run, "alice")
    done = run("accounts", "set-password", "alice")
    assert done.code == 0
    password = done.out.removesuffix("\n")
    assert re.fullmatch(r"[a-z2-9]{5}(-[a-z2-9]{5}){3}", password)
    assert password not in done.err
    shown = run("accounts", "show", "alice", "--json")
    assert shown.json["password_temporary"]
    assert password not in shown.out

    async def log_in(password: str, new: str | None) -> bool:
        async with Limen.from_env().running() as gate:
            try:
                await gate.login.login("alice", password, new_password=new, origin=NOWHERE)
            except (PasswordChangeRequired, InvalidCredentials):
                return False
            return True

    assert not asyncio.run(log_in(PASSWORD, None))
    assert not asyncio.run(log_in(password, None))
    assert asyncio.run(log_in(password, "another battery, another horse"))
    again = run("accounts", "set-password", "alice", "--json").json
    assert again["password"] != password
    assert again["password_expires_at"].endswith("Z")


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize("verb", ["disable", "block", "delete --yes"])
def test_the_last_administrator_stays(run: Run, verb: str) -> None:
    """The operator too cannot leave an installation that nobody administers: 1, ``conflict``."""
    sync_roles(chief=["roles:assign"])
    make(run, "alice", "--role", "chief")
    refused = run("accounts", *verb.split(), "alice", "--json")
    assert (refused.code, refused.problem["code"]) == (1, "conflict")
    assert run("accounts", "show", "alice", "--json").json["status"] == "active"
    make(run, "bob", "--role", "chief")
    assert run("accounts", *verb.split(), "alice").code == 0


def test_what_was_done_is_in_the_audit_trail(run: Run, installation: Path) -> None:
    """Acts of the command line are recorded with ``cli`` as their actor."""
    make(run, "alice")
    run("accounts", "disable", "alice")
    run("accounts", "end-sessions", "alice")
    run("accounts", "set-password", "alice")
    run("accounts", "delete", "alice", "--yes")
    with sqlite3.connect(installation / "limen.db") as connection:
        rows = connection.execute("SELECT event, actor FROM limen_events ORDER BY seq").fetchall()
    connection.close()
    assert [row for row in rows if row[1] == "cli"] == [
        (name, "cli")
        for name in (
            "account_created",
            "account_disabled",
            "sessions_ended",
            "password_set",
            "account_deleted",
            "details_erased",
        )
    ]


def test_a_table_sends_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """What is stored cannot steer the terminal of whoever lists it: control characters are written out."""
    table(["name", "e-mail"], [["\x1b[31mred\x07", "\u202eevil"]])
    assert capsys.readouterr().out == "name             e-mail\n\\x1b[31mred\\x07  \\u202eevil\n"


@pytest.mark.usefixtures("installation")
def test_a_database_that_does_not_answer_is_4(run: Run, installation: Path) -> None:
    """A file that is no database is a dependency that is down: 4, one sentence, no traceback."""
    (installation / "limen.db").write_bytes(b"this is not a database, whatever its name says " * 100)
    done = run("accounts", "list", "--json")
    assert done.code == 4
    assert json.loads(done.err.splitlines()[-1])["code"] == "unavailable"
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("installation")
def test_export_prints_what_there_is_about_one_account(run: Run) -> None:
    """``export`` prints JSON about that account alone, without its hash, and leaves a record; nobody's is exit 1."""
    make(run, "alice", "--email", "alice@example.org")
    make(run, "bob")
    done = run("accounts", "export", "alice")
    assert done.code == 0
    assert (done.json["account"]["username"], done.json["account"]["email"]) == ("alice", "alice@example.org")
    assert [each["event"] for each in done.json["events"]] == ["account_created"]
    assert "bob" not in done.out
    assert "$2b$" not in done.out
    again = run("accounts", "export", "alice").json["events"]
    assert [(each["event"], each["by"]) for each in again][1:] == [("account_exported", "operator")]
    assert run("accounts", "export", "nobody").code == 1
