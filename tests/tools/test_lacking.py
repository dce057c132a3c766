from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SUITE = """
import pytest

def test_that_runs(): pass

@pytest.mark.skip(reason="a camel")
def test_that_needs_a_camel(): pass

def test_that_asks_for_a_camel(): pytest.skip("a camel")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Give a suite in which one test runs and others lack something."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("LIMEN_TEST_REPORT", raising=False)
    pytester.makepyfile(test_some=SUITE, test_module='import pytest\npytest.skip("a whale", allow_module_level=True)\n')
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the suite with the plugin and nothing that it does not need, in a process of its own."""
    return suite.runpytest_subprocess("-p", "tests.plugins.lacking", "-p", "xdist", *arguments)


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_what_is_lacking_is_named_at_the_end(suite: pytest.Pytester, workers: tuple[str, ...]) -> None:
    """The last section names each reason once, also when the tests ran in other processes."""
    done = run(suite, *workers)
    assert done.ret == 0
    *_, heading, first, second, _closing = [line for line in done.outlines if line]
    assert "not run on this machine" in heading
    assert (first, second) == ("  - a camel", "  - a whale")


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_skip_fails_where_all_has_to_be_there(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    """With CI=true a run that skipped exits with 1."""
    monkeypatch.setenv("CI", "true")
    assert run(suite, *workers).ret == 1


def test_a_whole_run_passes_where_all_has_to_be_there(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """With CI=true a run without a skip exits with 0 and names nothing."""
    monkeypatch.setenv("CI", "true")
    done = run(suite, "-k", "test_that_runs", "test_some.py")
    assert done.ret == 0
    done.stdout.no_fnmatch_line("*not run on this machine*")


def test_the_counts_are_left_for_the_command(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts and the reasons are written where the calling command asked for them, one line a run."""
    target = suite.path / "report.jsonl"
    monkeypatch.setenv("LIMEN_TEST_REPORT", str(target))
    run(suite)
    run(suite, "-n", "2")
    expected = {"passed": 1, "failed": 0, "skipped": 3, "lacking": ["a camel", "a whale"]}
    assert [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()] == [expected, expected]
