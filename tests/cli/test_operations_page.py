"""What an operator is told to type is there: each command of three sections of the page, with its options."""

import re
import shlex

import pytest

from limen.settings import Settings
from tests.cli.conftest import Run
from tests.docs.markdown import ROOT, blocks, code

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SECTIONS = ("PostgreSQL", "Secrets", "Backups and restores")


def section(title: str) -> str:
    """Return the text under a heading."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


COMMANDS = sorted({each for title in SECTIONS for each in code(section(title)) if each.startswith("limen ")})


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_there(run: Run, command: str) -> None:
    """It has a help page, which names each option that is shown."""
    words = shlex.split(command)[1:]
    names = [word for word in words if not word.startswith("-")]
    done = run(*names, "--help")
    assert done.code == 0
    assert all(word in done.out for word in words if word.startswith("-"))


def test_the_commands_are_found() -> None:
    """The runbook names what it is about."""
    assert {"limen db restored", "limen db upgrade", "limen db current", "limen secrets new", "limen doctor"} <= set(
        COMMANDS
    )


@pytest.mark.parametrize("title", SECTIONS)
def test_each_setting_is_one(title: str) -> None:
    """No section names a setting that is not there."""
    named = set(re.findall(r"\bLIMEN_[A-Z_]*[A-Z]\b", section(title)))
    assert named
    assert named <= set(Settings.environment_names())


def test_the_statements_for_roles_are_those_that_were_tried() -> None:
    """What the page grants is what the test of a role without rights grants (`test_doctor_postgres.py`)."""
    granted = [block.text for block in blocks(section("PostgreSQL")) if "GRANT" in block.text]
    tried = (ROOT / "tests" / "cli" / "test_doctor_postgres.py").read_text(encoding="utf-8")
    assert len(granted) == 1
    for right in ("SELECT", "INSERT, UPDATE, DELETE ON ALL TABLES", "USAGE ON ALL SEQUENCES"):
        assert right in granted[0]
        assert right in tried
