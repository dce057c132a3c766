"""``limen check``: asks of every endpoint of an application who may call it, and what comes in and goes out."""

import contextlib
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from limen.cli import check_options as options
from limen.cli.check_options import FailOn, Form
from limen.cli.exits import Exit, Unfinished, UsageError
from limen.cli.terminal import note, say, show_json
from limen.core.errors import ConfigurationError, LimenError

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.checklist.checking import Report
    from limen.checklist.facts import Broken
    from limen.checklist.lock import Change

_DUMPED = re.compile(r'\s*File ".*", line \d+ in |(Current thread|Thread|Stack) .*most recent call first|  \.\.\.$')
_RULES_HINT = "limen check --explain LC001 tells of one; docs/reference/checks.md in limen's repository has them all."


def check(
    target: options.Target = None,
    *,
    form: options.AsForm = Form.TABLE,
    sarif: options.AsSarif = None,
    fail_on: options.From = FailOn.LOW,
    only: options.Only = None,
    ignore: options.Ignored = None,
    baseline: options.Baseline = None,
    write_baseline: options.NewBaseline = None,
    lock: options.Lock = None,
    locked: options.Locked = False,
    source: options.Source = True,
    timeout: options.Timeout = 60.0,
    everything: options.All = False,
    explain: options.Explained = None,
    json: options.AsJson = False,
) -> None:
    """Ask of every endpoint who may call it, what about this very object, what comes in, what goes out.

    Works on applications that know nothing of limen. Nothing is started: no lifespan, no network.

    \b
    limen check app.main:app
    limen check app.main:app --fail-on high --ignore LC013,LC014
    limen check app.main:app --write-baseline check-baseline.json
    limen check app.main:app --format sarif > limen.sarif
    limen check --explain LC004

    Exit codes: 0 nothing was found that fails, 1 something was, 2 it could not be looked at.
    """  # noqa: D301 - what keeps the lines of an example apart is one character
    if explain is not None:
        _explain(explain)
        return
    if locked and lock is None:
        raise typer.BadParameter("--locked is about --lock FILE")
    asked = _asked(only or [], ignore or [])
    known, old = _known(baseline), _old(lock)
    form = Form.JSON if json else form
    report = _with_rules(_looked_at(_named(target), form, timeout=timeout, source=source), asked)
    if write_baseline is not None:
        _write_baseline(report, write_baseline)
        return
    report, before = _without(report, known, asked if source else frozenset())
    is_stale, moved = _locked(report, lock, old, check=locked) if lock is not None else (False, [])
    try:
        _print(report, form, moved, before=before, not_asked=_count() - len(asked), everything=everything)
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk is no finding
        raise Unfinished from error
    if sarif is not None:
        _write_sarif(report, sarif)
    if is_stale or _fails(report, fail_on):
        raise typer.Exit(Exit.REFUSED)


def _explain(rule: str) -> None:
    from limen.checklist.choosing import UnknownRule, rule_of
    from limen.checklist.output.words import explained, page_of

    try:
        found = rule_of(rule)
    except UnknownRule as error:
        raise UsageError(str(error), _RULES_HINT) from None
    say(explained(found), f"The same in limen's repository: {page_of(found)}")


def _asked(only: list[str], ignored: list[str]) -> frozenset[str]:
    """Return the ids of the rules that are asked."""
    from limen.checklist.choosing import UnknownRule, chosen

    try:
        return chosen(only, ignored)
    except UnknownRule as error:
        raise UsageError(str(error), _RULES_HINT) from None


def _count() -> int:
    from limen.checklist.catalogue import RULES

    return len(RULES)


def _named(target: str | None) -> str:
    """Return the application that is meant: the one that was named, or the only one that is here.

    Raises:
        UsageError: none was named, and here is none, or more than one.
    """
    from limen.checklist.suggesting import NoModule, applications_in, spelled

    if target:
        try:
            return spelled(target, Path.cwd())
        except NoModule as error:
            raise UsageError(f"{target!r} names no module of this folder.", str(error)) from None
    found = applications_in(Path.cwd())
    if len(found) == 1:
        note(f"checking {found[0]}, the only application in this folder")
        return found[0]
    if not found:
        hint = "limen check MODULE:APP, in the folder that the application is imported from."
        raise UsageError("Which application? None was found in this folder.", hint)
    raise UsageError("Which application?", "Here are: " + ", ".join(f"limen check {each}" for each in found[:6]))


def _looked_at(target: str, form: Form, *, timeout: float, source: bool) -> "Report":
    """Return the report.

    Raises:
        UsageError: the application cannot be looked at; the reason is said, and what to do.
        Unfinished: limen failed. Exit code 1 would tell of findings.
    """
    from limen.checklist.checking import check as checked
    from limen.checklist.facts import Broken

    with _busy(f"importing {target}, and reading its routes"):
        try:
            found = checked(target, timeout=timeout, with_source=source)
        except (LimenError, ConfigurationError):
            raise
        except Exception as error:
            raise Unfinished from error
    if isinstance(found, Broken):
        raise _unusable(target, found, form)
    if found.application.faked:
        made_up = found.application.faked
        more = f" and {len(made_up) - 8} more" if len(made_up) > 8 else ""
        note(f"settings were missing and made up: {', '.join(made_up[:8])}{more}")
    return found


@contextlib.contextmanager
def _busy(text: str) -> Iterator[None]:
    """Show on standard error that something is being done, where somebody looks."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(text)):
        yield


def _unusable(target: str, broken: "Broken", form: Form) -> UsageError:
    """Return why an application cannot be looked at, and print it where a program reads the report."""
    from limen.checklist.suggesting import advice

    where = f" ({broken.place.file}:{broken.place.line})" if broken.place.file else ""
    # Where it stood when its time was over is told as the place, and is not what it said.
    said = [line for line in broken.said.strip().splitlines() if line.strip() and not _DUMPED.match(line)]
    if said:
        note("it said: " + said[-1][:300])
    reason = broken.reason.removeprefix("NotFound: ")
    text, hint = f"{target} cannot be checked: {reason}{where}", advice(target, broken, Path.cwd())
    if form is Form.JSON:
        from limen.checklist.output.as_json import broken_as_json

        show_json(broken_as_json(target, reason, broken.place, hint))
    elif form is Form.SARIF:
        from importlib.metadata import version

        from limen.checklist.output.as_sarif import broken_as_sarif

        show_json(broken_as_sarif(text, version("limen")))
    return UsageError(text, hint)


def _with_rules(report: "Report", asked: frozenset[str]) -> "Report":
    """Return a report with what these rules found."""
    from msgspec.structs import replace

    return replace(
        report,
        findings=tuple(each for each in report.findings if each.rule.id in asked),
        accepted=tuple((each, reason) for each, reason in report.accepted if each.rule.id in asked),
    )


def _known(baseline: Path | None) -> "Counter[tuple[str, ...]]":
    """Return what a baseline has, before anything is imported: a file that is wrong is told at once."""
    from limen.checklist.baseline import read

    try:
        return Counter() if baseline is None else read(baseline)
    except ConfigurationError as error:
        raise UsageError(str(error)) from error


def _old(lock: Path | None) -> "dict[str, Any] | None":
    """Return what a lock says, before anything is imported; None where there is none yet."""
    from limen.checklist.lock import read

    try:
        return None if lock is None or not lock.exists() else read(lock)
    except ConfigurationError as error:
        raise UsageError(str(error)) from error


def _write(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        UsageError: it cannot be written: exit code 1 would tell of findings.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UsageError(f"{path} cannot be written: {why}", "Name a file in a folder that is there.") from error


def _write_baseline(report: "Report", path: Path) -> None:
    from limen.checklist.baseline import written
    from limen.checklist.catalogue import BAD_ACCEPTANCE

    _write(path, written(report.findings))
    left_out = sum(each.rule == BAD_ACCEPTANCE for each in report.findings)
    note(f"{path} has {len(report.findings) - left_out} findings: check with --baseline {path}")
    if left_out:
        note(f"{left_out} of {BAD_ACCEPTANCE.id} are not in it: write down why, and until when")


def _without(report: "Report", known: "Counter[tuple[str, ...]]", asked: frozenset[str]) -> "tuple[Report, int]":
    """Return a report without what is known, and how many findings that were; tell what is known and was not found."""
    from msgspec.structs import replace

    from limen.checklist.baseline import gone, without

    over = gone(report.findings, known, asked).total()
    if over:
        note(f"{over} of the findings in the baseline are gone: write it anew, or they may come back in silence")
    new, before = without(report.findings, known)
    return replace(report, findings=tuple(new)), before


def _locked(report: "Report", path: Path, old: "dict[str, Any] | None", *, check: bool) -> "tuple[bool, list[Change]]":
    """Tell what changed since the lock was written; return whether that is a refusal, and the changes.

    The file is written anew, where it is not only checked.
    """
    from limen.checklist.lock import changes, lock_of, written

    now = lock_of(report.application)
    text = written(now)
    moved = changes(old, now) if old is not None else []
    for each in moved:
        note(f"{each.label.value}: {each.route}: {each.before or 'not there'} -> {each.after or 'not there'}")
    is_stale = old is None or path.read_text(encoding="utf-8") != text
    if is_stale and not check:
        _write(path, text)
        note(f"{path} is written")
    elif is_stale:
        note(f"{path} is not up to date: run `limen check {report.application.target} --lock {path}` and commit it")
    return is_stale and check, moved


def _print(
    report: "Report", form: Form, moved: "list[Change]", *, before: int, not_asked: int, everything: bool
) -> None:
    if form is Form.JSON:
        from limen.checklist.output.as_json import report_as_json

        show_json(report_as_json(report, before=before, not_asked=not_asked, changes=moved))
    elif form is Form.SARIF:
        from importlib.metadata import version

        from limen.checklist.output.as_sarif import report_as_sarif

        show_json(report_as_sarif(report, version("limen")))
    elif form is Form.MARKDOWN:
        from limen.checklist.output.as_markdown import report_as_markdown

        say(report_as_markdown(report, before=before, not_asked=not_asked, changes=moved).rstrip())
    else:
        from limen.checklist.output.as_table import print_report

        print_report(report, before=before, not_asked=not_asked, everything=everything)
        sys.stdout.flush()


def _write_sarif(report: "Report", path: Path) -> None:
    from importlib.metadata import version
    from json import dumps

    from limen.checklist.output.as_sarif import report_as_sarif

    _write(path, dumps(report_as_sarif(report, version("limen")), indent=2))


def _fails(report: "Report", fail_on: FailOn) -> bool:
    from limen.checklist.findings import Severity

    return any(each.severity >= Severity[fail_on.name] for each in report.findings)
