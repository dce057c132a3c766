"""The public names: each is there, nothing else is promised, and loading one loads no other."""

import subprocess
import sys

import pytest

import limen
import limen.consumers
import limen.fastapi
import limen.starlette


def test_every_public_name_is_there() -> None:
    """What is listed can be imported, and dir() shows just that."""
    assert dir(limen) == sorted(limen.__all__)
    for module in (limen, limen.consumers, limen.fastapi, limen.starlette):
        for name in module.__all__:
            assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = limen.nothing


def test_the_names_of_the_contract() -> None:
    """What others were told to import, as far as it exists by now."""
    assert {"Limen", "Principal", "Decision", "Forbidden", "Unauthenticated"} <= set(limen.__all__)
    for door in (limen.fastapi, limen.starlette):
        assert {"CurrentPrincipal", "public", "roles", "permissions", "live"} <= set(door.__all__)


def test_the_names_of_policies() -> None:
    """What a policy is written with, and what decides by it; rules are no answers, which are a `Decision`."""
    told = {"Policies", "PolicySet", "allow", "context", "deny", "expect", "python", "resource", "subject"}
    assert told <= set(limen.__all__)
    assert limen.allow("order:read", id="all").actions == ("order:read",)
    assert limen.Decision.allow().allowed
    assert not limen.Decision.deny("closed").allowed


def test_the_names_for_messages() -> None:
    """What a handler of messages is guarded with: named as on routes."""
    assert {"Consumer", "Message", "live", "once", "permissions", "public", "roles"} <= set(limen.consumers.__all__)


def test_an_error_is_imported_without_the_rest() -> None:
    """A command that only prints its version, or a module that raises, does not wait for the database's library."""
    code = (
        "from limen import Forbidden; import sys; print('limen.wiring' in sys.modules, 'cryptography' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told.split() == ["False", "False"]
