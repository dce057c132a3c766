import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from limen.cli.exits import Exit, as_problem
from limen.core.errors import Busy, ConfigurationError, NotFound
from limen.web.problems import TYPE_PREFIX
from tests.cli.conftest import Run

LIMEN = Path(sys.executable).parent / "limen"


def test_version_is_the_installed_one() -> None:
    """The installed program prints name and version and ends with 0."""
    done = subprocess.run([LIMEN, "--version"], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"limen {version('limen')}\n", "")


def test_starts_within_half_a_second() -> None:
    """A start takes less than half a second of processor time; the clock on the wall also counts who else is busy."""
    # Without the measuring of coverage, which starts in every process of a test run.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    took = []
    for _ in range(3):
        before = os.times()
        subprocess.run([LIMEN, "--version"], check=True, capture_output=True, timeout=100, env=plain)
        after = os.times()
        took.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(took) < 0.5, took


@pytest.mark.parametrize("group", [[], ["accounts"], ["audit"], ["db"]], ids=["limen", "accounts", "audit", "db"])
def test_help_cuts_no_sentence_short(run: Run, group: list[str]) -> None:
    """What a command does is told to its end in a pipe of 80 columns, as in a terminal."""
    done = run(*group, "--help")
    listed = done.out.partition("Commands:")[2]
    assert listed.count("\n  ") > 2
    assert "..." not in listed
    assert all(len(line) <= 80 for line in listed.splitlines())


def test_help_names_every_command(run: Run) -> None:
    """``--help`` lists the commands and the exit codes."""
    done = run("--help")
    assert done.code == 0
    for word in ("serve", "demo", "init", "accounts", "doctor", "Exit codes"):
        assert word in done.out


@pytest.mark.parametrize(
    "arguments",
    [["bogus"], ["accounts", "bogus"], ["accounts", "show"], ["serve", "--port", "many"], ["serve", "--bogus"], []],
    ids=" ".join,
)
def test_wrong_usage_is_2(run: Run, arguments: list[str]) -> None:
    """What cannot be understood ends with 2, and never with a traceback."""
    done = run(*arguments)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_wrong_usage_in_json(run: Run) -> None:
    """With ``--json`` wrong usage is a problem as JSON on standard error, and standard output stays empty."""
    done = run("accounts", "show", "--json")
    assert (done.out, done.problem["code"], done.problem["exit"]) == ("", "usage", 2)


@pytest.mark.parametrize("command", [["accounts", "list"], ["serve"]], ids=" ".join)
def test_missing_settings_are_3(run: Run, command: list[str]) -> None:
    """Without settings a command ends with 3 and names each that is missing."""
    done = run(*command)
    assert (done.code, done.out) == (3, "")
    for name in ("LIMEN_DATABASE_URL", "LIMEN_JWT_ACCESS_SECRET", "LIMEN_JWT_REFRESH_SECRET"):
        assert name in done.err
    assert "limen init" in done.err.splitlines()[-1]
    assert "--env-file" in done.err.splitlines()[-1]


def test_a_settings_file_nearby_is_not_read(run: Run) -> None:
    """A ``.env`` in the working directory that nobody named has no effect (another folder's settings)."""
    assert run("init").code == 0
    assert run("accounts", "list").code == 3
    assert run("accounts", "list", "--env-file", ".env").code == 0


def test_a_settings_file_open_to_others_is_refused(run: Run, clean_environment: Path) -> None:
    """A settings file that others can open ends the command with 3 and the line that closes it."""
    run("init")
    (clean_environment / ".env").chmod(0o644)
    done = run("accounts", "list", "--env-file", ".env")
    assert done.code == 3
    assert "chmod 600" in done.err


def test_the_demo_is_found_where_nothing_is_configured(run: Run, clean_environment: Path) -> None:
    """``var/demo.env`` is taken, and it is said, where nothing is configured; one open to others is refused."""
    (clean_environment / "var").mkdir()
    settings = clean_environment / "var" / "demo.env"
    assert run("init", "--file", "var/demo.env").code == 0
    done = run("accounts", "list", "--json")
    assert (done.code, done.json["items"]) == (0, [])
    assert "var/demo.env" in done.err
    settings.chmod(0o640)
    assert "chmod 600" in run("accounts", "list").err


def test_somebody_elses_demo_is_not_taken(run: Run, clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of somebody else are not taken unless they are named: passwords would go into their database."""
    (clean_environment / "var").mkdir()
    assert run("init", "--file", "var/demo.env").code == 0
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    done = run("accounts", "list")
    assert (done.code, "var/demo.env" in done.err) == (3, False)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("There is none."), Exit.REFUSED),
        (Busy(), Exit.DEPENDENCY),
        (ConfigurationError("LIMEN_X is wrong"), Exit.CONFIGURATION),
        (RuntimeError("a secret in a message"), Exit.REFUSED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_is_a_problem(error: Exception, code: Exit) -> None:
    """An error becomes problem details of the same type as over HTTP; an unforeseen one tells nothing but its class."""
    problem = as_problem(error)
    assert problem["exit"] == code
    assert problem["type"] == f"{TYPE_PREFIX}{problem['code']}"
    assert "a secret" not in json.dumps(problem)


def test_a_reader_that_leaves_is_no_error(run: Run) -> None:
    """``limen … | head`` ends quietly when the reader has read enough."""
    assert run("init").code == 0
    command = f"{LIMEN} doctor --env-file .env --json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout == "{"
    assert done.stderr == ""
