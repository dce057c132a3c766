"""``limen check``: asks of every endpoint of an application who may call it, and what comes in and goes out."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limen.cli.exits import Exit, UsageError
from limen.cli.terminal import note, say, show_json

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.checklist.checking import Report
    from limen.checklist.facts import Broken


class Form(StrEnum):
    """How the report is printed."""

    TABLE = "table"
    JSON = "json"
    SARIF = "sarif"
    MARKDOWN = "markdown"


class FailOn(StrEnum):
    """From which severity on findings fail."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:APP",
            envvar="LIMEN_APP",
            help="A FastAPI or Starlette application, or a function that makes it. It is imported, and never started.",
        ),
    ],
    *,
    form: Annotated[Form, typer.Option("--format", help="How to print it.")] = Form.TABLE,
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="FILE", help="Leave out the findings of this file.", show_default=False),
    ] = None,
    write_baseline: Annotated[
        Path | None,
        typer.Option(
            "--write-baseline",
            metavar="FILE",
            help="Write today's findings to a file, and fail on none.",
            show_default=False,
        ),
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="End with exit code 1 from this severity on.")
    ] = FailOn.LOW,
    lock: Annotated[
        Path | None,
        typer.Option(
            "--lock",
            metavar="FILE",
            help="Label what changed since this file was written, who may call which route, and write it anew.",
            show_default=False,
        ),
    ] = None,
    locked: Annotated[
        bool, typer.Option("--locked", help="With --lock: write nothing, and fail where the file is not up to date.")
    ] = False,
    source: Annotated[bool, typer.Option("--source/--no-source", help="Ask the rules about source text, too.")] = True,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long importing may take.")] = 60.0,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every finding and what rules cannot see.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Ask of every endpoint who may call it, what about this very object, what comes in, what goes out.

    Works on applications that know nothing of limen. Nothing is started: no lifespan, no network.
    """
    from limen.checklist.baseline import read, without, written
    from limen.checklist.checking import check as checked
    from limen.checklist.facts import Broken
    from limen.checklist.findings import Severity

    if locked and lock is None:
        raise typer.BadParameter("--locked is about --lock FILE")
    known = read(baseline) if baseline is not None else None
    report = checked(target, timeout=timeout, with_source=source)
    if isinstance(report, Broken):
        raise _unusable(target, report)
    if write_baseline is not None:
        write_baseline.write_text(written(report.findings), encoding="utf-8")
        note(f"{write_baseline} has {len(report.findings)} findings: check with --baseline {write_baseline}")
        return
    before = 0
    if known is not None:
        report, before = _without(report, known, without)
    is_stale = _locked(report, lock, check=locked) if lock is not None else False
    _print(report, Form.JSON if json else form, before=before, verbose=verbose)
    worst = max((each.severity for each in report.findings), default=None)
    if is_stale or (worst is not None and worst >= Severity[fail_on.name]):
        raise typer.Exit(Exit.REFUSED)


def _without(report: "Report", known: Any, without: Any) -> "tuple[Report, int]":
    from msgspec.structs import replace

    new, before = without(report.findings, known)
    return replace(report, findings=tuple(new)), before


def _unusable(target: str, broken: "Broken") -> UsageError:
    where = f" ({broken.place.file}:{broken.place.line})" if broken.place.file else ""
    said = [line for line in broken.said.strip().splitlines() if line.strip()]
    if said:
        note("it said: " + said[-1][:300])
    hint = "Call it in the folder of the application, with the Python that has its dependencies."
    return UsageError(f"{target} cannot be checked: {broken.reason}{where}", hint)


def _locked(report: "Report", path: Path, *, check: bool) -> bool:
    """Tell what changed since the lock was written; return whether that is a refusal. The file is written anew."""
    from limen.checklist.lock import changes, lock_of, read, written

    now = lock_of(report.application)
    text = written(now)
    if path.is_file():
        for each in changes(read(path), now):
            note(f"{each.label.value}: {each.route}: {each.before or 'not there'} -> {each.after or 'not there'}")
    is_stale = not path.is_file() or path.read_text(encoding="utf-8") != text
    if is_stale and not check:
        path.write_text(text, encoding="utf-8")
        note(f"{path} is written")
    elif is_stale:
        note(f"{path} is not up to date: run `limen check {report.application.target} --lock {path}` and commit it")
    return is_stale and check


def _print(report: "Report", form: Form, *, before: int, verbose: bool) -> None:
    if form is Form.JSON:
        from limen.checklist.output.as_json import report_as_json

        show_json(report_as_json(report, before=before))
    elif form is Form.SARIF:
        from importlib.metadata import version

        from limen.checklist.output.as_sarif import report_as_sarif

        show_json(report_as_sarif(report, version("limen")))
    elif form is Form.MARKDOWN:
        from limen.checklist.output.as_markdown import report_as_markdown

        say(report_as_markdown(report, before=before).rstrip())
    else:
        from limen.checklist.output.as_table import print_report

        if report.application.faked:
            note(f"settings were missing and made up: {', '.join(report.application.faked[:8])}")
        print_report(report, before=before, verbose=verbose)
        sys.stdout.flush()
