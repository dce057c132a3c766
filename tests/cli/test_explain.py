"""`limen explain`: why an account may do something, as an operator asks on the machine."""

import json
import secrets
import subprocess
from pathlib import Path

import pytest

from tests.server.conftest import LIMEN

REPOSITORY = Path(__file__).resolve().parents[2]
APP = "tests.policies.explained:from_environment"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An installation with nobody in it."""
    return {
        "LIMEN_DATABASE_URL": f"sqlite:///{tmp_path / 'limen.db'}",
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
        "LIMEN_BCRYPT_COST": "10",
    }


def limen(environment: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Call the command in the folder of the application."""
    return subprocess.run(
        [LIMEN, *arguments], cwd=REPOSITORY, env=environment, input=stdin, capture_output=True, text=True, check=False
    )


def test_why_an_account_may_and_may_not(environment: dict[str, str]) -> None:
    """Allowed ends with 0 and denied with 1, each with the rule or the leaf; ``--json`` has what the route answers."""
    made = limen(environment, "accounts", "create", "ben", "--password-stdin", stdin="a long enough pass phrase\n")
    assert made.returncode == 0, made.stderr
    before = limen(environment, "explain", "ben", "order:create", "--app", APP)
    assert (before.returncode, "denied" in before.stdout) == (1, True), before.stderr
    assert "has_role" in before.stdout
    granted = limen(environment, "roles", "grant", "ben", "checker")
    assert granted.returncode == 0, granted.stderr
    yes = limen(environment, "explain", "BEN", "order:approve", "Order:50", "--app", APP)
    assert (yes.returncode, yes.stdout.splitlines()[0]) == (0, "allowed by limited"), yes.stderr
    no = limen(environment, "explain", "ben", "order:approve", "Order:500", "--app", APP, "--json")
    assert no.returncode == 1, no.stderr
    told = json.loads(no.stdout)
    assert set(told) == {"allowed", "version", "rule", "failed"}
    assert told["failed"] == [{"leaf": "Order.amount <= subject.limit", "left": "500", "right": "100"}]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nobody", "order:approve", "--app", APP), 1, "no account of that name"),
        (("nobody", "order:approve", "--app", "tests.policies.explained:POLICIES"), 2, "has no accounts"),
        (("nobody", "order:approve", "--app", "tests.policies.nowhere:app"), 2, "no module"),
        (("nobody", "order:approve"), 2, "--app"),
    ],
    ids=["account", "rules", "module", "app"],
)
def test_what_is_asked_wrongly(environment: dict[str, str], arguments: tuple[str, ...], code: int, said: str) -> None:
    """Each mistake is one sentence and an exit code; no traceback."""
    done = limen(environment, "explain", *arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
