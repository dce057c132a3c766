"""Permissions of single accounts, grants that end, and separated roles, at the command line."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from limen import Limen
from tests.cli.conftest import Run
from tests.cli.test_roles import make

pytestmark = pytest.mark.usefixtures("installation")

LATE = "2099-12-31T00:00:00Z"


def declare(separated: list[list[str]]) -> None:
    """Start an application that declares roles, and which of them exclude each other."""

    async def once() -> None:
        roles = {"maker": ["order:create"], "checker": ["order:approve"]}
        async with Limen.from_env(roles=roles, separation_of_duty=separated).running():
            pass

    asyncio.run(once())


def test_a_permission_is_granted_shown_and_revoked(run: Run) -> None:
    """For people and as JSON; what is not said to end does not."""
    account_id = make(run, "ann")
    done = run("accounts", "grant", "ann", "order:approve", "order:read")
    assert (done.code, done.out) == (0, "ann has order:approve, order:read beside what its roles give.\n")
    told = run("accounts", "grant", "ANN", "order:approve", "--until", LATE, "--json").json
    held = [{"name": "order:approve", "expires_at": LATE}, {"name": "order:read", "expires_at": None}]
    assert told == {"id": account_id, "username": "ann", "permissions": held, "roles_ending": []}
    assert run("accounts", "show", "ann", "--json").json["permissions"] == held
    shown = run("accounts", "show", "ann").out
    assert "order:approve" in shown
    assert LATE in shown
    done = run("accounts", "revoke", "ann", "order:approve", "order:read")
    assert (done.code, done.out) == (0, "ann has no permission beside what its roles give.\n")
    assert "order:read" not in run("accounts", "show", "ann").out


@pytest.mark.parametrize(("span", "seconds"), [("90s", 90), ("30m", 1_800), ("8h", 28_800), ("14d", 1_209_600)])
def test_a_span_counts_from_now(run: Run, span: str, seconds: int) -> None:
    """By the database's clock, for roles and for permissions."""
    declare([])
    make(run, "ann")
    before = datetime.now(UTC).replace(microsecond=0)
    assert run("roles", "grant", "ann", "maker", "--for", span).code == 0
    assert run("accounts", "grant", "ann", "order:approve", "--for", span).code == 0
    told = run("accounts", "show", "ann", "--json").json
    for shown in (*told["permissions"], *told["roles_ending"]):
        end = datetime.fromisoformat(shown["expires_at"])
        assert before <= end - timedelta(seconds=seconds) <= datetime.now(UTC)


@pytest.mark.parametrize(
    "options",
    [["--until", "tomorrow"], ["--until", "2026-12-31"], ["--for", "8"], ["--for", "0h"], ["--for", "-1h"],
     ["--until", LATE, "--for", "8h"]],
    ids=" ".join,
)  # fmt: skip
def test_what_is_no_time_is_wrong_usage(run: Run, options: list[str]) -> None:
    """Exit code 2, and nothing is granted."""
    declare([])
    make(run, "ann")
    assert run("accounts", "grant", "ann", "order:read", *options).code == 2
    assert run("roles", "grant", "ann", "maker", *options).code == 2
    told = run("accounts", "show", "ann", "--json").json
    assert (told["permissions"], told["roles"]) == ([], [])


def test_a_time_that_is_past_is_refused(run: Run) -> None:
    """By the database's clock: exit code 1."""
    make(run, "ann")
    assert run("accounts", "grant", "ann", "order:read", "--until", "1999-12-31T00:00:00Z").code == 1


def test_what_cannot_be_granted(run: Run) -> None:
    """No name of a permission, nobody of that name."""
    make(run, "ann")
    assert run("accounts", "grant", "ann", "read").code == 1
    assert run("accounts", "grant", "nobody", "order:read").code == 1


def test_separated_roles_are_kept_and_listed(run: Run) -> None:
    """The command line declares nothing, and refuses all the same; who holds both already is listed until one goes."""
    declare([])
    make(run, "ann", "--role", "maker", "--role", "checker")
    make(run, "bob", "--role", "maker")
    declare([["maker", "checker"]])
    done = run("roles", "grant", "bob", "checker", "--json")
    assert done.code == 1
    assert "checker and maker" in done.problem["detail"]
    held = [{"username": "ann", "roles": ["checker", "maker"]}]
    assert run("roles", "separated", "--json").json == {"separated": [["checker", "maker"]], "held": held}
    listed = run("roles", "separated")
    assert "ann" in listed.out
    assert "neither counts" in listed.err
    assert run("roles", "revoke", "ann", "maker").code == 0
    assert run("roles", "separated", "--json").json["held"] == []
