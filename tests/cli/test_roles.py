"""``limen roles``: what it prints, what it refuses, and with which exit code."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from limen import ADMINISTRATION, Limen
from tests.cli.conftest import PASSWORD, Run

pytestmark = pytest.mark.usefixtures("installation")


def make(run: Run, name: str, *options: str) -> str:
    """Make an account and return its id."""
    done = run("accounts", "create", name, "--password-stdin", "--json", *options, stdin=PASSWORD + "\n")
    assert done.code == 0, done.err
    return str(done.json["id"])


def sync_roles(**roles: list[str]) -> None:
    """Start an application that declares roles."""

    async def once() -> None:
        async with Limen.from_env(roles=roles).running():
            pass

    asyncio.run(once())


def events(folder: Path, name: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return actor, target and data of the records of this name."""
    with closing(sqlite3.connect(folder / "limen.db")) as database:
        found = database.execute("SELECT actor, target, data FROM limen_events WHERE event = ? ORDER BY seq", (name,))
        return [(actor, target, json.loads(data)) for actor, target, data in found]


def test_a_fresh_installation_begins_with_a_role_that_administers(run: Run) -> None:
    """Without any application there is ``admin``, which gives all of limen's administration, for the first account."""
    make(run, "root", "--role", "admin")
    shown = run("roles", "show", "admin", "--json").json
    assert (shown["source"], shown["gives"]) == ("database", sorted(ADMINISTRATION))
    assert run("accounts", "show", "root", "--json").json["roles"] == ["admin"]


def test_the_first_role_stays_deleted(run: Run) -> None:
    """It is written into a database that has never had a role, not into one where somebody deleted it."""
    assert run("roles", "delete", "admin").code == 0
    assert run("roles", "list", "--json").json == {"items": [], "next": None}


def test_where_an_application_declares_roles_nothing_is_added() -> None:
    """An application's installation has the application's roles."""
    sync_roles(maker=["order:create"])

    async def names() -> frozenset[str]:
        from limen.authz.administration import DEFAULT_ROLES
        from limen.settings import Settings

        async with Limen(Settings.load(), default_roles=DEFAULT_ROLES).running() as gate:
            return gate.catalogue.names

    assert asyncio.run(names()) == {"maker"}


def test_a_role_is_made_shown_and_deleted(run: Run, installation: Path) -> None:
    """``create``, ``show``, ``list`` and ``delete`` tell the same role, and are recorded as the work of ``cli``."""
    sync_roles(reader=["order:read"])
    done = run("roles", "create", "writer", "--permission", "order:create", "--extends", "reader", "--json")
    told = {
        "name": "writer",
        "source": "database",
        "permissions": ["order:create"],
        "extends": ["reader"],
        "gives": ["order:create", "order:read"],
    }
    assert (done.code, done.json) == (0, told)
    assert run("roles", "show", "writer", "--json").json == told
    assert run("roles", "list", "--json").json["items"] == [
        {
            "name": "reader",
            "source": "code",
            "permissions": ["order:read"],
            "extends": [],
            "gives": ["order:read"],
        },
        told,
    ]
    assert run("roles", "delete", "writer", "--json").json == {"name": "writer", "deleted": True}
    assert run("roles", "show", "writer").code == 1
    assert events(installation, "role_created")[0] == (
        "cli",
        "writer",
        {"permissions": ["order:create"], "extends": ["reader"]},
    )
    assert events(installation, "role_deleted") == [("cli", "writer", {})]


def test_what_is_printed_for_people(run: Run) -> None:
    """Sentences and an aligned table, with where each permission comes from."""
    run("roles", "create", "reader", "--permission", "order:read")
    done = run("roles", "create", "writer", "--permission", "order:create", "--extends", "reader")
    assert done.out.splitlines() == [
        "The role writer was made.",
        "writer: a role of the database, extends reader",
        "permission    given by",
        "order:create  itself",
        "order:read    what it extends",
    ]
    run("roles", "create", "guest")
    assert run("roles", "show", "guest").out.splitlines() == [
        "guest: a role of the database",
        "It gives no permission.",
    ]
    listed = run("roles", "list", "--limit", "3").out.splitlines()
    assert listed[0].split() == ["role", "source", "extends", "permissions", "of", "its", "own"]
    assert [line.split()[0] for line in listed[1:]] == ["admin", "guest", "reader"]


def test_a_list_goes_on(run: Run) -> None:
    """``--limit`` and ``--after`` lead through all roles, in order."""
    for name in ("b", "c", "d"):
        run("roles", "create", name)
    first = run("roles", "list", "--limit", "2", "--json").json
    assert ([role["name"] for role in first["items"]], first["next"]) == (["admin", "b"], "b")
    second = run("roles", "list", "--limit", "2", "--after", "b", "--json").json
    assert ([role["name"] for role in second["items"]], second["next"]) == (["c", "d"], None)
    assert "--after b" in run("roles", "list", "--limit", "2").err


def test_a_role_is_not_replaced_by_accident(run: Run) -> None:
    """A second ``create`` is refused and says how; ``--replace`` means all of it."""
    run("roles", "create", "writer", "--permission", "order:create")
    refused = run("roles", "create", "writer", "--permission", "order:delete")
    assert refused.code == 1
    assert "--replace" in refused.err
    assert run("roles", "show", "writer", "--json").json["permissions"] == ["order:create"]
    done = run("roles", "create", "writer", "--permission", "order:delete", "--replace")
    assert done.out.startswith("The role writer was replaced.")
    assert run("roles", "show", "writer", "--json").json["permissions"] == ["order:delete"]


def test_roles_are_granted_and_revoked(run: Run, installation: Path) -> None:
    """In any spelling of the name, several at once; the account's roles are printed, and it is recorded."""
    account_id = make(run, "ann")
    run("roles", "create", "reader", "--permission", "order:read")
    run("roles", "create", "writer", "--permission", "order:create")
    done = run("roles", "grant", "ANN", "reader", "writer", "--json")
    assert done.json == {"id": account_id, "username": "ann", "roles": ["reader", "writer"]}
    assert run("roles", "revoke", "ann", "writer").out == "ann holds reader.\n"
    assert run("roles", "revoke", "ann", "reader").out == "ann holds no role.\n"
    assert run("accounts", "show", "ann", "--json").json["roles"] == []
    actors = {(actor, target) for actor, target, _ in events(installation, "roles_assigned")}
    assert actors == {("cli", account_id)}
    assert len(events(installation, "roles_assigned")) == 3
    run("roles", "revoke", "ann", "reader")
    assert len(events(installation, "roles_assigned")) == 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "nothing"), "not_found"),
        (("delete", "nothing"), "not_found"),
        (("delete", "reader"), "conflict"),
        (("delete", "base"), "conflict"),
        (("delete", "coded"), "conflict"),
        (("create", "coded", "--permission", "order:read", "--replace"), "conflict"),
        (("create", "two words"), "invalid_input"),
        (("create", "other", "--permission", "order"), "invalid_input"),
        (("create", "other", "--extends", "nothing"), "invalid_input"),
        (("create", "base", "--extends", "reader", "--replace"), "invalid_input"),
        (("create", "base", "--extends", "base", "--replace"), "invalid_input"),
        (("grant", "ann", "nothing"), "invalid_input"),
        (("revoke", "ann", "nothing"), "invalid_input"),
        (("grant", "nobody", "reader"), "not_found"),
    ],
)
def test_what_is_refused(run: Run, arguments: tuple[str, ...], code: str) -> None:
    """Each refusal ends with 1 and a code, and changes nothing."""
    sync_roles(coded=["order:read"])
    run("roles", "create", "base", "--permission", "order:read")
    run("roles", "create", "reader", "--extends", "base")
    make(run, "ann", "--role", "reader")
    before = run("roles", "list", "--json").out
    refused = run("roles", *arguments, "--json")
    assert (refused.code, refused.problem["code"]) == (1, code)
    assert refused.out == ""
    assert run("roles", "list", "--json").out == before
    assert run("accounts", "show", "ann", "--json").json["roles"] == ["reader"]


def test_the_last_administrator_stays(run: Run) -> None:
    """The operator may grant anything, and still cannot take away the last administrator: neither way of the two."""
    make(run, "root", "--role", "admin")
    for arguments in (
        ("revoke", "root", "admin"),
        ("create", "admin", "--permission", "roles:read", "--replace"),
    ):
        refused = run("roles", *arguments)
        assert refused.code == 1
        assert "No administrator would be left" in refused.err
    make(run, "other", "--role", "admin")
    assert run("roles", "revoke", "root", "admin").code == 0


@pytest.mark.parametrize("arguments", [("grant", "ann"), ("revoke",), ("show",), ("create",), ("list", "--limit", "0")])
def test_wrong_usage(run: Run, arguments: tuple[str, ...]) -> None:
    """What is missing is told, with 2."""
    assert run("roles", *arguments).code == 2
