"""`limen policy`: from the folder of an application, as its author calls it."""

import json
import secrets
import subprocess
from pathlib import Path

import pytest

from tests.server.conftest import LIMEN

RULES = """
from dataclasses import dataclass
from limen import PolicySet, allow, deny, expect, resource, subject

@dataclass
class Order:
    maker_id: str
    checker_id: str | None
    amount: int

U, O = subject(), resource(Order)
POLICIES = PolicySet(
    [
        allow("order:read", (O.maker_id == U.id) | U.has_role("admin"), id="own"),
        allow("order:approve", (O.maker_id != U.id) & (O.amount <= 100), id="four-eyes"),
    ],
    tests=[expect("order:read", {"maker_id": "ann"}, allowed=True, id="ann", by="own")],
)
CARELESS = [*POLICIES.rules, deny("order:approve", O.checker_id == "x", id="not-x")]
WRONG = PolicySet(POLICIES.rules, tests=[expect("order:read", {"maker_id": "ann"}, allowed=True, id="bob")])
NOTHING = 3
def made():
    return POLICIES
"""
GATE = """
from pathlib import Path
from fastapi import FastAPI
from limen import Limen
from limen.fastapi import permissions
from shop import POLICIES

gate = Limen.from_env(roles={"maker": ["order:read"], "checker": ["order:approve"]}, policies=POLICIES)
app = FastAPI(openapi_url=None)

@app.get("/orders/{order_id}")
@permissions("order:read")
async def order(order_id: str) -> None: ...

gate.protect(app)
"""
SETTINGS = {
    "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
    "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
    "PATH": "/usr/bin:/bin",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an application."""
    (tmp_path / "shop.py").write_text(RULES, encoding="utf-8")
    (tmp_path / "served.py").write_text(GATE, encoding="utf-8")
    return tmp_path


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Call `limen policy` there."""
    told = {**SETTINGS, "LIMEN_DATABASE_URL": f"sqlite:///{folder / 'limen.db'}", "NO_COLOR": "1", **more}
    return subprocess.run(
        [LIMEN, "policy", *arguments], cwd=folder, env=told, capture_output=True, text=True, timeout=100
    )


def test_a_clean_set_is_told_in_one_line(folder: Path) -> None:
    """Its rules, its version, and that nothing was found; the object may be named by the environment, or made."""
    done = run(folder, "lint", "shop:POLICIES")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 rules, version ")
    assert done.stdout.endswith(": no findings\n")
    assert run(folder, "lint", LIMEN_APP="shop:POLICIES").stdout == done.stdout
    assert run(folder, "lint", "shop:made").stdout == done.stdout


def test_an_error_ends_with_one(folder: Path) -> None:
    """What may not be meant is told with its remedy, for people and for programs."""
    done = run(folder, "lint", "shop:CARELESS")
    assert done.returncode == 1
    assert "error LP001 deny not-x: It reads Order.checker_id" in done.stdout
    told = json.loads(run(folder, "lint", "shop:CARELESS", "--json").stdout)
    assert [each["code"] for each in told["findings"]] == ["LP001"]


def test_routes_of_an_application_are_looked_at(folder: Path) -> None:
    """One that asks for the permission alone, where rules are about the resource, is a warning."""
    done = run(folder, "lint", "served:app")
    assert done.returncode == 0, done.stderr
    assert "warning LP004 GET /orders/{order_id}" in done.stdout


def test_the_lock_labels_a_change(folder: Path) -> None:
    """Written at first, compared later; with --check nothing is written, and what is stale is refused."""
    lock = folder / "policy.lock"
    assert run(folder, "lint", "shop:POLICIES", "--lock", "policy.lock", "--check").returncode == 1
    assert not lock.exists()
    assert run(folder, "lint", "shop:POLICIES", "--lock", "policy.lock").returncode == 0
    before = lock.read_text(encoding="utf-8")
    assert run(folder, "lint", "shop:POLICIES", "--lock", "policy.lock", "--check").returncode == 0
    rules = folder / "shop.py"
    rules.write_text(RULES.replace("<= 100", "<= 200"), encoding="utf-8")
    done = run(folder, "lint", "shop:POLICIES", "--lock", "policy.lock", "--check")
    assert done.returncode == 1
    assert "loosened: order:approve on Order" in done.stdout
    assert "is not up to date" in done.stderr
    assert lock.read_text(encoding="utf-8") == before
    assert run(folder, "lint", "shop:POLICIES", "--lock", "policy.lock").returncode == 0
    assert lock.read_text(encoding="utf-8") != before
    told = json.loads(run(folder, "lint", "shop:POLICIES", "--lock", "policy.lock", "--json").stdout)
    assert told["changes"] == []


def test_the_tests_of_a_set(folder: Path) -> None:
    """How many passed; the one that does not is named, with exit code 1."""
    assert run(folder, "test", "shop:POLICIES").stdout.startswith("1 test passed, version ")
    done = run(folder, "test", "shop:WRONG")
    assert done.returncode == 1
    assert "order:read" in done.stderr
    told = json.loads(run(folder, "test", "shop:WRONG", "--json").stdout)
    assert (told["passed"], len(told["faults"])) == (False, 1)


def test_who_may_do_what(folder: Path) -> None:
    """A table for people, JSON for programs, Markdown for a page; with a gate, its own roles."""
    done = run(folder, "matrix", "shop:POLICIES")
    assert "order:read     Order     admin   always" in done.stdout
    markdown = run(folder, "matrix", "shop:POLICIES", "--format", "markdown", "--role", "admin").stdout
    assert "| order:read | Order | admin | always |  |" in markdown
    assert "(none)" not in markdown
    told = json.loads(run(folder, "matrix", "served:gate", "--json").stdout)
    assert {each["role"] for each in told["cells"]} == {"", "maker", "checker"}
    assert run(folder, "matrix", "shop:POLICIES", "--role", "nobody").returncode == 1


@pytest.mark.parametrize("target", ["shop", "shop:NONE", "nowhere:POLICIES", "shop:NOTHING", ":", "shop:Order"])
def test_what_names_no_policies_is_wrong_usage(folder: Path, target: str) -> None:
    """Exit code 2 and a sentence that says how to name them; never a traceback."""
    done = run(folder, "lint", target)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("limen: ")
