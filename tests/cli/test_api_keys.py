"""``limen services`` and ``limen api-keys``: what they print, and what they refuse."""

import pytest

from limen.crypto.api_keys import read_key
from tests.cli.conftest import PASSWORD, Run

pytestmark = pytest.mark.usefixtures("installation")


def test_a_service_and_its_key(run: Run) -> None:
    """Made, listed, rotated, revoked; the key is printed once, alone on standard output."""
    made = run("services", "create", "billing", "--role", "admin", "--json")
    assert made.code == 0, made.err
    assert made.json["roles"] == ["admin"]
    assert [each["username"] for each in run("services", "list", "--json").json["items"]] == ["billing"]
    options = ("--name", "nightly", "--scope", "accounts:read", "--network", "192.0.2.7", "--expires-in", "86400")
    issued = run("api-keys", "create", "billing", *options, "--json").json
    assert read_key(issued["key"].encode(), "live") is not None
    assert (issued["name"], issued["scopes"]) == ("nightly", ["accounts:read"])
    (listed,) = run("api-keys", "list", "billing", "--json").json["items"]
    assert (listed["id"], listed["networks"], listed["created_by"]) == (issued["id"], ["192.0.2.7/32"], "cli")
    assert "key" not in listed
    rotated = run("api-keys", "rotate", "billing", issued["id"])
    assert rotated.code == 0
    assert rotated.out.strip() != issued["key"]
    assert read_key(rotated.out.strip().encode(), "live") is not None
    assert "shown once" in rotated.err
    assert run("api-keys", "revoke", "billing", issued["id"]).code == 0
    assert run("api-keys", "list", "billing", "--json").json["items"] == []
    assert run("api-keys", "revoke", "billing", issued["id"]).code == 1
    assert run("services", "disable", "billing", "--json").json["status"] == "disabled"
    assert run("api-keys", "create", "billing").code == 1


def test_what_is_refused(run: Run) -> None:
    """An unknown owner, a scope that the owner does not hold, a network that is none: exit code 1, and a sentence."""
    assert run("services", "create", "billing").code == 0
    assert run("services", "create", "billing").code == 1
    assert run("services", "create", "other", "--role", "nosuch").code == 1
    for arguments in (
        ("create", "nobody"),
        ("create", "billing", "--scope", "accounts:read"),
        ("create", "billing", "--network", "somewhere"),
        ("rotate", "billing", "x"),
    ):
        done = run("api-keys", *arguments)
        assert done.code == 1, arguments
        assert done.err


def test_the_operator_may_for_anybody_but_gives_no_service_a_password(run: Run) -> None:
    """A key for a person's account; and a service stays without a login."""
    assert run("accounts", "create", "ann", "--password-stdin", stdin=PASSWORD + "\n").code == 0
    assert run("api-keys", "create", "ann").code == 0
    assert run("services", "create", "billing").code == 0
    assert run("accounts", "set-password", "billing").code == 1
    disabled = run("services", "disable", "ann")
    assert disabled.code == 1
    assert run("accounts", "show", "ann", "--json").json["status"] == "active"


def test_keys_are_confirmed_after_a_restore(run: Run) -> None:
    """The restore says how many there are; named, or all of an account, they are as before; a wrong id is a refusal."""
    assert run("services", "create", "billing").code == 0
    first, second, third = (run("api-keys", "create", "billing", "--json").json["id"] for _ in range(3))
    restored = run("db", "restored", "--yes")
    assert "3 API keys open nothing until they are confirmed" in restored.out
    assert run("db", "restored", "--yes", "--json").json["api_keys"] == 0

    def confirmed() -> dict[str, bool]:
        return {key["id"]: key["confirmed"] for key in run("api-keys", "list", "billing", "--json").json["items"]}

    assert confirmed() == {first: False, second: False, third: False}
    assert run("api-keys", "confirm", "billing", first).out == f"The key {first} is confirmed.\n"
    assert confirmed() == {first: True, second: False, third: False}
    assert sorted(run("api-keys", "confirm", "billing", "--json").json["confirmed"]) == sorted([second, third])
    assert confirmed() == {first: True, second: True, third: True}
    assert run("api-keys", "confirm", "billing", "nonsense").code == 1
