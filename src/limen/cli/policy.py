"""``limen policy``: what the rules say, whether they mean it, and what a change of them means."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limen.cli.configuration import Json
from limen.cli.exits import Exit, Refused
from limen.cli.target import Policed, Target, policed
from limen.cli.terminal import note, say, show_json, table

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.authz.lock import Change
    from limen.authz.matrix import Cell

app = typer.Typer(no_args_is_help=True, help="Policies: look for mistakes, run their tests, show who may do what.")


class Form(StrEnum):
    """How the table of `matrix` is printed."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


@app.command()
def lint(
    target: Target,
    lock: Annotated[
        Path | None,
        typer.Option(
            "--lock",
            metavar="FILE",
            help="Label what changed since this file, such as policy.lock, was written, and write it anew.",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="With --lock: write nothing, and fail where the file is not up to date.")
    ] = False,
    json: Json = False,
) -> None:
    """Say what the rules may not have meant. Errors end with exit code 1; so does a lock that is not up to date."""
    from limen.authz.findings import Severity
    from limen.authz.findings import lint as findings_of

    if check and lock is None:
        raise typer.BadParameter("--check is about --lock FILE")
    found = policed(target)
    findings = findings_of(found.policies, routes=found.routes)
    changes, is_stale = _locked(found, lock, check=check) if lock is not None else ([], False)
    if json:
        show_json(
            {
                "version": found.policies.version,
                "rules": len(found.policies.rules),
                "findings": [
                    {
                        "code": each.code,
                        "severity": each.severity.value,
                        "where": each.where,
                        "message": each.message,
                        "remedy": each.remedy,
                    }
                    for each in findings
                ],
                "changes": [_as_json(each) for each in changes],
            }
        )
    else:
        for each in findings:
            say(f"{each.severity.value} {each.code} {each.where}: {each.message}", f"  {each.remedy}")
        _show_changes(changes)
        count = len(findings)
        rules = found.policies.rules
        told = "1 finding" if count == 1 else f"{count or 'no'} findings"
        say(f"{len(rules)} rule{'' if len(rules) == 1 else 's'}, version {found.policies.version}: {told}")
    if is_stale:
        note(f"{lock} is not up to date: run `limen policy lint {target} --lock {lock}` and commit it")
    if is_stale or any(each.severity is Severity.ERROR for each in findings):
        raise typer.Exit(Exit.REFUSED)


def _locked(found: Policed, path: Path, *, check: bool) -> "tuple[list[Change], bool]":
    """Return what changed since the file was written, and whether that is a refusal; the file is written anew."""
    from limen.authz.lock import FORMAT, changes, lock_of, read_lock, written

    text = written(lock_of(found.policies))
    before = path.read_text(encoding="utf-8") if path.is_file() else None
    old = {"format": FORMAT, "decisions": []} if before is None else read_lock(before)
    told = changes(old, read_lock(text))
    is_stale = before != text
    if is_stale and not check:
        path.write_text(text, encoding="utf-8")
        note(f"{path} is written")
    return told if before is not None else [], is_stale and check


def _as_json(change: "Change") -> dict[str, str]:
    return {
        "action": change.action,
        "resource": change.resource,
        "label": change.label.value,
        "before": change.before,
        "after": change.after,
    }


def _show_changes(changes: "list[Change]") -> None:
    for change in changes:
        what = f"{change.action} on {change.resource}" if change.resource else change.action
        say(f"{change.label.value}: {what}", f"  - {change.before}", f"  + {change.after}")


@app.command("test")
def run_tests(target: Target, json: Json = False) -> None:
    """Run the tests that the rules bring along. An application with one that fails would not start either."""
    from limen.authz.engine import PolicyRefused

    try:
        found = policed(target)
    except PolicyRefused as error:
        if json:
            show_json({"passed": False, "faults": list(error.faults)})
            raise typer.Exit(Exit.REFUSED) from error
        raise Refused(str(error)) from error
    if json:
        show_json({"passed": True, "tests": found.tests, "version": found.policies.version})
        return
    say(f"{found.tests} test{'' if found.tests == 1 else 's'} passed, version {found.policies.version}")
    if not found.tests:
        note("there are none: PolicySet(rules, tests=[expect(…)]) states what must be answered")


@app.command()
def matrix(
    target: Target,
    role: Annotated[
        list[str] | None, typer.Option("--role", help="Only this role; may be given several times.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="How to print it.")] = Form.TABLE,
    json: Json = False,
) -> None:
    """Show who may do what: for each role and each action always, never, or under which condition."""
    from limen.authz.matrix import matrix as cells_of

    found = policed(target)
    unknown = sorted(set(role or ()) - found.catalogue.names)
    if unknown:
        raise Refused(
            f"There is no role {', '.join(unknown)}.", f"There are: {', '.join(sorted(found.catalogue.names))}."
        )
    cells = cells_of(found.policies, found.catalogue, role or None)
    rows = [[cell.action, cell.resource, cell.role or "(none)", cell.answer.value, cell.condition] for cell in cells]
    columns = ["action", "resource", "role", "allowed", "condition"]
    if json or form is Form.JSON:
        show_json({"version": found.policies.version, "cells": [_cell_as_json(cell) for cell in cells]})
    elif form is Form.MARKDOWN:
        for row in (columns, ["---"] * len(columns), *rows):
            say(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")
    else:
        table(columns, rows, colours={"always": "green", "never": "red", "depends": "yellow"})


def _cell_as_json(cell: "Cell") -> dict[str, str]:
    return {
        "action": cell.action,
        "resource": cell.resource,
        "role": cell.role,
        "allowed": cell.answer.value,
        "condition": cell.condition,
    }
