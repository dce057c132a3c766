"""``limen accounts import``."""

import asyncio
import json
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from limen import Limen
from limen.core.errors import InvalidCredentials
from limen.core.events import NOWHERE
from limen.crypto.foreign_hashes import MARK
from tests.cli.conftest import Done, Run
from tests.cli.test_accounts import sync_roles

MADE = json.loads((Path(__file__).parents[1] / "crypto" / "foreign_hashes.json").read_text())
WEAK = "$1$Df0Kjrbq$mFK9ZlXY84NfO7da/G0C21"


@pytest.fixture
def bring(run: Run, installation: Path) -> Any:
    """Write lines of limen's own format, and import them."""

    def call(*rows: dict[str, Any] | str, options: tuple[str, ...] = (), source: str = "jsonl") -> Done:
        file = installation / "accounts.jsonl"
        file.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in rows))
        return run("accounts", "import", str(file), "--from", source, "--json", *options)

    return call


def names(run: Run) -> dict[str, Any]:
    """Return all accounts by name."""
    return {each["username"]: each for each in run("accounts", "list", "--limit", "200", "--json").json["items"]}


def stored(installation: Path) -> dict[str, str | None]:
    """Return what is stored of the passwords, by name."""
    with closing(sqlite3.connect(installation / "limen.db")) as file:
        return dict(file.execute("SELECT username, password_hash FROM limen_accounts"))


def log_in(*attempts: tuple[str, str]) -> list[bool]:
    """Tell of each name and password whether it opens a session."""

    async def once() -> list[bool]:
        opened = []
        async with Limen.from_env().running() as gate:
            for username, password in attempts:
                try:
                    await gate.login.login(username, password, origin=NOWHERE)
                    opened.append(True)
                except InvalidCredentials:
                    opened.append(False)
        return opened

    return asyncio.run(once())


def test_what_is_brought_logs_in_and_is_hashed_anew(run: Run, bring: Any, installation: Path) -> None:
    """A hash of each other software opens its account; after the first login it is limen's own, and opens it still."""
    kinds = {made: (password, text) for made, password, text in MADE["hashes"]}
    rows = [{"username": made, "password_hash": text} for made, (_, text) in kinds.items()]
    done = bring(*rows)
    assert (done.code, done.json["imported"], done.json["refused"]) == (0, len(rows), 0)
    assert all((text or "").startswith(MARK) for text in stored(installation).values())
    right = [(made, password) for made, (password, _) in kinds.items()]
    assert not any(log_in(*((made, "x" + password) for made, password in right)))
    assert all((text or "").startswith(MARK) for text in stored(installation).values()), "a wrong one changes nothing"
    assert all(log_in(*right))
    own = ("$2b$10$", "$bcrypt-sha256$v=2,t=2b,r=10$")
    assert all((text or "").startswith(own) for text in stored(installation).values())
    assert all(log_in(*right))
    assert not any(log_in(*((made, password + "x" * 80) for made, password in right)))
    with closing(sqlite3.connect(installation / "limen.db")) as file:
        rehashed = file.execute("SELECT count(*) FROM limen_events WHERE event = 'password_rehashed'").fetchone()
    assert rehashed == (len(kinds),)


def test_bad_rows_are_told_by_line_and_code(run: Run, bring: Any) -> None:
    """What cannot be brought is told by its line and why; the others are brought; nothing quotes a hash; exit 1."""
    done = bring(
        {"username": "ann", "password_hash": MADE["hashes"][0][2], "email": "Ann@Example.org"},
        {"username": "has space"},
        {"username": "bob", "email": "no address"},
        {"username": "cid", "password_hash": WEAK},
        {"username": "dan", "password_hash": "a password"},
        {"username": "eve", "password_hash": "$2b$15$" + "." * 53},
        {"username": "ANN"},
        {"username": "fay", "id": "3e6a"},
        {"username": "gus", "created_at": "0001-01-01T00:00:00Z"},
        "{",
        {"username": "hal", "disabled": True},
    )
    told = [(row["line"], row["code"]) for row in done.json["problems"]]
    assert told == [
        (2, "username"),
        (3, "email"),
        (4, "hash_weak"),
        (5, "hash_unknown"),
        (6, "hash_too_costly"),
        (7, "duplicate"),
        (8, "id"),
        (9, "created_at"),
        (10, "malformed"),
    ]
    assert (done.code, done.json["read"], done.json["imported"], done.json["refused"]) == (1, 11, 2, 9)
    assert WEAK not in done.out + done.err
    assert "a password" not in done.out + done.err
    there = names(run)
    assert set(there) == {"ann", "hal"}
    assert (there["ann"]["email"], there["ann"]["status"], there["hal"]["status"]) == (
        "ann@example.org",
        "active",
        "disabled",
    )


def test_an_account_can_be_brought_without_its_refused_hash(run: Run, bring: Any, installation: Path) -> None:
    """md5crypt is refused; with --without-password the account comes without one, and a temporary one can be set."""
    row = {"username": "ann", "password_hash": WEAK}
    assert bring(row).code == 1
    done = bring(row, options=("--without-password",))
    assert (done.code, done.json["imported"], done.json["without_password"]) == (0, 1, 1)
    assert done.json["codes"] == {"without_password": 1}
    assert stored(installation) == {"ann": None}
    assert log_in(("ann", "correct horse battery staple"), ("ann", "")) == [False, False]
    assert run("accounts", "set-password", "ann").code == 0


def test_a_dry_run_writes_nothing(run: Run, bring: Any, installation: Path) -> None:
    """It says what would be done, also of names that are taken, and leaves the database as it was."""
    assert bring({"username": "ann"}).code == 0
    with closing(sqlite3.connect(installation / "limen.db")) as file:
        before = list(file.iterdump())
    done = bring({"username": "ann"}, {"username": "bob"}, {"username": "a b"}, options=("--dry-run",))
    assert (done.json["imported"], done.json["skipped"], done.json["refused"], done.code) == (1, 1, 1, 1)
    with closing(sqlite3.connect(installation / "limen.db")) as file:
        assert list(file.iterdump()) == before


def test_run_again_it_skips_who_is_there(run: Run, bring: Any) -> None:
    """The second run changes nothing and says so by line; exit 0; the report names the account that is there."""
    rows = [{"username": f"name{number}", "key": str(number)} for number in range(5)]
    assert bring(*rows).json["imported"] == 5
    before = names(run)
    again = bring(*rows, {"username": "new"})
    assert (again.code, again.json["imported"], again.json["skipped"]) == (0, 1, 5)
    assert again.json["problems"][3] == {
        "line": 4,
        "outcome": "skipped",
        "code": "username_taken",
        "key": "3",
        "username": "name3",
        "id": before["name3"]["id"],
    }
    assert {**before, "new": names(run)["new"]} == names(run)


def test_fail_ends_at_the_first_name_that_is_taken(run: Run, bring: Any) -> None:
    """With --on-conflict fail nothing of the batch is imported, and exit 1 says so."""
    assert bring({"username": "bob"}).code == 0
    rows = ({"username": "ann"}, {"username": "bob"}, {"username": "cid"})
    done = bring(*rows, options=("--on-conflict", "fail"))
    assert (done.code, done.json["stopped"], done.json["imported"], done.json["skipped"]) == (1, True, 0, 1)
    assert set(names(run)) == {"bob"}


def test_roles_only_where_that_is_said(run: Run, bring: Any) -> None:
    """Without --allow-roles nobody gets a role, and it is told; with it only those there are, by their names here."""
    sync_roles(maker=["order:create"], checker=["order:approve"])
    ann, bob = {"username": "ann", "roles": ["boss", "maker"]}, {"username": "bob", "roles": ["root"]}
    done = bring(ann, bob)
    assert done.json["roles_left_out"] == {"boss": 1, "maker": 1, "root": 1}
    assert [each["roles"] for each in names(run).values()] == [[], []]
    cid, dan = {**ann, "username": "cid"}, {**bob, "username": "dan"}
    eve = {"username": "eve", "roles": ["root", "checker"]}
    options = ("--allow-roles", "--role-map", "boss=checker", "--role-map", "root=")
    assert bring(cid, dan, eve, options=options).code == 0
    there = names(run)
    assert [there[name]["roles"] for name in ("cid", "dan", "eve")] == [["checker", "maker"], [], ["checker"]]
    refused = bring({"username": "fay", "roles": ["admin"]}, options=("--allow-roles",))
    assert (refused.code, refused.json["problems"][0]["code"]) == (1, "role_unknown")
    assert bring(ann, options=("--role-map", "boss=checker")).code == 2
    assert bring(ann, options=("--allow-roles", "--role-map", "boss=ghost")).code == 1
    assert bring(ann, options=("--allow-roles", "--role-map", "boss")).code == 2


def test_an_address_is_verified_only_where_that_is_trusted(bring: Any, installation: Path) -> None:
    """What another software calls verified is an address like any other, unless --trust-emails says otherwise."""
    assert bring({"username": "ann", "email": "ann@example.org", "email_verified": True}).code == 0
    options = ("--trust-emails",)
    assert bring({"username": "bob", "email": "bob@example.org", "email_verified": True}, options=options).code == 0
    assert bring({"username": "cid", "email": "cid@example.org"}, options=options).code == 0
    with closing(sqlite3.connect(installation / "limen.db")) as file:
        assert file.execute("SELECT email FROM limen_verified_emails").fetchall() == [("bob@example.org",)]


def test_the_trail_has_each_account_and_the_import(run: Run, bring: Any) -> None:
    """One record for each account, by the command line, from where it came; and one for the whole, with counts."""
    bring({"username": "ann"}, {"username": "a b"})
    records = run("audit", "list", "--limit", "200", "--json").json["items"]
    made = [each for each in records if each["event"] == "account_created"]
    assert [(each["actor"], each["target"], each["data"]) for each in made] == [
        ("cli", names(run)["ann"]["id"], {"roles": [], "imported_from": "jsonl"})
    ]
    (whole,) = [each for each in records if each["event"] == "accounts_imported"]
    assert (whole["data"]["from"], whole["data"]["imported"], whole["data"]["refused"]) == ("jsonl", 1, 1)


def test_the_report_has_every_record_and_is_ones_own(bring: Any, installation: Path) -> None:
    """--report writes each record in its order, with the id there and here, to a file for nobody else."""
    out = installation / "report.jsonl"
    rows = [{"username": f"name{number}", "key": f"old-{number}"} for number in range(2_500)]
    rows[1_200] = {"username": "a b", "key": "old-1200"}
    done = bring(*rows, options=("--report", str(out)))
    assert (done.json["imported"], done.json["refused"]) == (2_499, 1)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [each["line"] for each in told] == list(range(1, 2_501))
    assert (told[1_200]["outcome"], told[1_200]["code"], told[1_200]["key"]) == ("refused", "username", "old-1200")
    with closing(sqlite3.connect(installation / "limen.db")) as file:
        ids = dict(file.execute("SELECT username, id FROM limen_accounts"))
    assert all(ids[each["username"]] == each["id"] for each in told if each["outcome"] == "imported")


def test_a_database_of_fastapi_users(run: Run, installation: Path) -> None:
    """Its SQLite file is read as it is; one that has no such table, or is no database, is refused with a sentence."""
    path = installation / "theirs.db"
    hashed = bcrypt.hashpw(b"a long enough pass phrase", bcrypt.gensalt(4)).decode()
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE user (id CHAR(36), email, hashed_password, is_active, is_superuser, is_verified)")
        file.execute("INSERT INTO user VALUES ('1f', 'Ann@example.org', ?, 1, 1, 0)", [hashed])
        file.commit()
    done = run("accounts", "import", str(path), "--from", "fastapi-users", "--json")
    assert (done.code, done.json["imported"], done.json["roles_left_out"]) == (0, 1, {"superuser": 1})
    assert log_in(("ann@example.org", "a long enough pass phrase")) == [True]
    assert run("accounts", "import", str(path), "--from", "django").code == 2
    refused = run("accounts", "import", str(installation / "limen.db"), "--from", "fastapi-users")
    assert (refused.code, "no table user" in refused.err) == (1, True)
    (installation / "broken.db").write_bytes(b"SQLite format 3\0" + bytes(200))
    assert run("accounts", "import", str(installation / "broken.db"), "--from", "fastapi-users").code == 1
    assert run("accounts", "import", str(installation / "nothing"), "--from", "jsonl").code == 2


def test_a_realm_of_keycloak_logs_in(run: Run, installation: Path) -> None:
    """The passwords of a realm's export open the accounts; who had a second factor comes only where that is said."""
    users: list[dict[str, Any]] = [
        {
            "username": f"name{number}",
            "credentials": [{"type": "password", "credentialData": data, "secretData": secret}],
        }
        for number, (_, _, data, secret) in enumerate(MADE["keycloak"])
    ]
    users[1]["totp"] = True
    path = installation / "realm.json"
    path.write_text(json.dumps({"realm": "shop", "users": users}))
    done = run("accounts", "import", str(path), "--from", "keycloak", "--json")
    assert (done.json["imported"], done.json["problems"][0]["code"], done.code) == (len(users) - 1, "second_factor", 1)
    more = run("accounts", "import", str(path), "--from", "keycloak", "--json", "--drop-second-factors")
    assert (more.json["imported"], more.json["skipped"], more.code) == (1, len(users) - 1, 0)
    assert all(log_in(*((f"name{number}", each[1]) for number, each in enumerate(MADE["keycloak"]))))


def test_for_people_there_is_a_table_and_a_bar(run: Run, installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --json counts, codes with their meaning and lines are printed; a bar only where somebody looks."""
    path = installation / "accounts.jsonl"
    path.write_text('{"username": "ann", "roles": ["boss"]}\n{"username": "a b", "key": "\\u001b[31m"}\n')
    assert names(run) == {}
    done = run("accounts", "import", str(path), "--from", "jsonl", "--dry-run")
    assert done.out.startswith("1 accounts would be imported, 0 skipped, 1 refused")
    assert "a username has 1 to 64 characters" in done.out
    assert "boss (1)" in done.err
    assert "\x1b" not in done.out + done.err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run("accounts", "import", str(path), "--from", "jsonl").code == 1
    assert set(names(run)) == {"ann"}


def test_the_line_of_the_guide_is_imported(run: Run, bring: Any) -> None:
    """The example of limen's own format is one, with each field that there is."""
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "moving-accounts.md").read_text()
    line = guide.split("```json\n")[1].split("```")[0]
    assert set(json.loads(line)) == {
        "username",
        "email",
        "email_verified",
        "password_hash",
        "roles",
        "disabled",
        "created_at",
        "key",
    }
    done = bring(line)
    assert (done.code, done.json["imported"]) == (0, 1)
    assert names(run)["ann"]["created_at"] == "2020-05-01T12:00:00Z"
