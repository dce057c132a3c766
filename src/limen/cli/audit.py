"""``limen audit``: the trail is listed, exported, verified and signed off; details are erased, what is old removed."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from limen.cli.accounts import rfc3339
from limen.cli.audit_upkeep import erase, forget, keys, prune, recover, sinks, with_storage
from limen.cli.configuration import EnvFile, Json
from limen.cli.exits import Exit, UsageError
from limen.cli.terminal import note, say, show_json, table

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.crypto.keys import KeySet
    from limen.features.audit.checkpoints import Checkpoint
    from limen.features.audit.service import SealedRecord
    from limen.features.audit.verification import Finding, Verdict
    from limen.features.events.service import EventPage
    from limen.wiring import Limen

T = TypeVar("T")

LATE_MS = 60_000
"""Records that wait for longer tell that nobody seals."""

app = typer.Typer(no_args_is_help=True, help="The audit trail: list, export and verify it, sign where it stands.")

for upkeep in (erase, prune, recover, keys, sinks, forget):
    app.command()(upkeep)


@app.command("list")
def list_records(
    *,
    event: Annotated[str, typer.Option("--event", metavar="E", help="Only what happened this way.")] = "",
    actor: Annotated[str, typer.Option("--actor", metavar="ID", help="Only what this account did.")] = "",
    target: Annotated[str, typer.Option("--target", metavar="ID", help="Only what was done to this.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")] = 50,
    after: Annotated[str | None, typer.Option("--after", help="Go on from here, as `next` of the last page.")] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """List records of the trail: the latest ones, or those that follow a number; within a page the newest is last."""

    async def act(gate: "Limen") -> "EventPage":
        return await gate.events.page(limit=limit, after=after, event=event, actor=actor, target=target)

    page = with_storage(act, env_file)
    if json:
        from limen.features.audit.lines import record_as_json

        # Whole seconds, as every command tells times; exports have the milliseconds.
        items = [{**record_as_json(record), "time": rfc3339(record.time)} for record in page.items]
        show_json({"items": items, "next": page.next})
        return
    columns = ["seq", "time", "event", "outcome", "actor", "target", "source"]
    told = [
        [str(one.seq), rfc3339(one.time), one.event, one.outcome, one.actor, one.target, one.source]
        for one in page.items
    ]
    table(columns, told, colours={"failure": "red"})
    if page.next is not None:
        note(f"there are more: --after {page.next}")


@app.command()
def export(
    after: Annotated[
        int, typer.Option("--after", metavar="PLACE", min=0, help="Only what follows this place in the chain.")
    ] = 0,
    env_file: EnvFile = None,
) -> None:
    """Print every sealed record with its seal as a line of JSON, in the order of the chain.

    Going on after the last place that was printed misses no record, also none that was committed late.
    """

    async def act(gate: "Limen") -> None:
        async for each in gate.audit.export(after):
            print(_exported(each))
        sys.stdout.flush()

    with_storage(act, env_file)


@app.command()
def verify(
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", metavar="FILE", help="A file of checkpoints to compare with; may be repeated."),
    ] = None,
    jwks: Annotated[
        Path | None,
        typer.Option("--jwks", metavar="FILE", help="Believe only checkpoints that these public keys have signed."),
    ] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> int:
    """Hold every record against the chain; exit 1 where one was changed, removed, moved, inserted or cut off.

    Nothing is changed. What was cut off the very end is found by a checkpoint from before: limen audit checkpoint.
    """
    points = [point for path in checkpoint or () for point in _read(path)]
    known = None if jwks is None else _read_keys(jwks)

    async def act(gate: "Limen") -> "Verdict":
        with _progress() as on_part:
            return await gate.audit.verify(points, signed_by=known, on_part=on_part)

    verdict = with_storage(act, env_file)
    if json:
        show_json(_verdict_as_json(verdict))
    else:
        _tell(verdict, compared=bool(points))
    return Exit.REFUSED if verdict.count else Exit.DONE


@app.command("checkpoint")
def sign(
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Append it to this file instead of printing it.")
    ] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Seal what waits, and sign where the chain stands: one line, to be kept out of reach of the database."""
    from limen.features.audit.checkpoints import line_of

    async def act(gate: "Limen") -> "Checkpoint":
        await gate.audit.seal()
        return await gate.audit.checkpoint()

    point = with_storage(act, env_file)
    if to is None:
        say(line_of(point))
        return
    _append(to, line_of(point))
    if json:
        show_json({"place": point.number, "file": str(to)})
    else:
        say(f"The chain stands at place {point.number}: {to}")


def _exported(each: "SealedRecord") -> str:
    from limen.features.audit.lines import as_line, sealed_as_json

    return as_line(sealed_as_json(each))


def _read(path: Path) -> "list[Checkpoint]":
    from limen.features.audit.checkpoints import checkpoints_in

    try:
        found = checkpoints_in(path.read_text("utf-8").splitlines())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "limen audit checkpoint makes one.") from None
    except ValueError as error:
        raise UsageError(f"{path}: {error}", "Each line is what limen audit checkpoint prints.") from None
    if not found:
        raise UsageError(f"There is no checkpoint in {path}.", "limen audit checkpoint makes one.")
    return found


def _read_keys(path: Path) -> "KeySet":
    from limen.core.errors import ConfigurationError
    from limen.features.audit.checkpoints import keys_in

    try:
        return keys_in(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ConfigurationError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path} holds no public keys: {told}", "limen audit keys prints them.") from None


def _append(path: Path, line: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


def _verdict_as_json(verdict: "Verdict") -> dict[str, object]:
    return {
        "sealed": verdict.sealed,
        "waiting": verdict.waiting,
        "oldest_waiting_ms": verdict.oldest_ms,
        "removed": verdict.removed,
        "checkpoints": verdict.checkpoints,
        "count": verdict.count,
        "findings": [_finding_as_json(finding) for finding in verdict.findings],
    }


def _finding_as_json(finding: "Finding") -> dict[str, Any]:
    return {"fault": str(finding.fault), "place": finding.number, "seq": finding.seq, "text": finding.text}


def _tell(verdict: "Verdict", *, compared: bool) -> None:
    for finding in verdict.findings:
        say(f"{finding.fault}: {finding.text}")
    if verdict.count > len(verdict.findings):
        say(f"… and {verdict.count - len(verdict.findings)} more.")
    whole = "is whole" if not verdict.count else f"does not hold: {verdict.count} findings"
    say(f"The chain of {verdict.sealed} records {whole}.")
    if verdict.removed:
        note(f"the records up to place {verdict.removed} were removed by limen audit prune")
    if verdict.oldest_ms > LATE_MS:
        late = verdict.oldest_ms // 1000
        note(f"{verdict.waiting} records are not sealed, the oldest for {late} s: does a server with a secret run?")
    if not compared:
        note("without --checkpoint FILE it is not seen whether the end was cut off")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show how far it is where somebody looks; nothing is printed otherwise."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
