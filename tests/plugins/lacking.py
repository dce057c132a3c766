"""Nothing is skipped silently: the last lines name what a machine lacks, and with CI=true a skip fails the run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


def reasons(reporter: Any) -> list[str]:
    """Return the reasons of all skips, those of whole modules included, each once."""
    told = set()
    for report in reporter.stats.get("skipped", []):
        detail = report.longrepr
        text = detail[2] if isinstance(detail, tuple) else str(detail)
        told.add(text.removeprefix("Skipped: "))
    return sorted(told)


def skips_fail() -> bool:
    """Say whether this is a run in which everything has to be there."""
    return os.environ.get("CI", "").lower() == "true"


def is_worker(config: pytest.Config) -> bool:
    """Say whether this process runs tests for another one, which reports them."""
    return hasattr(config, "workerinput")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that skipped where nothing may be skipped, and leave the counts for the command that ran it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or is_worker(session.config):
        return
    lacking = reasons(reporter)
    if lacking and skips_fail() and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    target = os.environ.get("LIMEN_TEST_REPORT")
    if target:
        count = {word: len(reporter.stats.get(word, [])) for word in ("passed", "failed", "error", "skipped")}
        count["failed"] += count.pop("error")
        with Path(target).open("a", encoding="utf-8") as report:
            report.write(json.dumps({**count, "lacking": lacking}) + "\n")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Name what was not run, last of all sections."""
    lacking = reasons(terminalreporter)
    if is_worker(config) or not lacking:
        return
    verdict = "which fails this run, because CI=true" if skips_fail() else "with CI=true this fails the run"
    terminalreporter.section(f"not run on this machine ({verdict})", yellow=True)
    for reason in lacking:
        terminalreporter.line(f"  - {reason}")
