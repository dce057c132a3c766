"""``limen audit``: the trail is listed, exported, verified and signed off; details are erased, what is old removed."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from limen.cli.accounts import ACTOR, rfc3339
from limen.cli.configuration import EnvFile, Json, load
from limen.cli.exits import Exit, Refused, UsageError
from limen.cli.terminal import note, say, show_json, table

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.features.audit.checkpoints import Checkpoint
    from limen.features.audit.service import SealedRecord
    from limen.features.audit.verification import Finding, Verdict
    from limen.features.events.service import EventPage, RecordView
    from limen.wiring import Limen

T = TypeVar("T")

DAY_MS = 86_400_000
LATE_MS = 60_000
"""Records that wait for longer tell that nobody seals."""

app = typer.Typer(no_args_is_help=True, help="The audit trail: list, export and verify it, sign where it stands.")

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


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

    page = _with_storage(act, env_file)
    if json:
        show_json({"items": [_as_json(record) for record in page.items], "next": page.next})
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

    _with_storage(act, env_file)


@app.command()
def verify(
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", metavar="FILE", help="A file of checkpoints to compare with; may be repeated."),
    ] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> int:
    """Hold every record against the chain; exit 1 where one was changed, removed, moved, inserted or cut off.

    Nothing is changed. What was cut off the very end is found by a checkpoint from before: limen audit checkpoint.
    """
    points = [point for path in checkpoint or () for point in _read(path)]

    async def act(gate: "Limen") -> "Verdict":
        with _progress() as on_part:
            return await gate.audit.verify(points, on_part=on_part)

    verdict = _with_storage(act, env_file)
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

    point = _with_storage(act, env_file)
    if to is None:
        say(line_of(point))
        return
    _append(to, line_of(point))
    if json:
        show_json({"place": point.number, "file": str(to)})
    else:
        say(f"The chain stands at place {point.number}: {to}")


@app.command()
def erase(
    account_id: Annotated[str, typer.Argument(metavar="ACCOUNT_ID", help="The account's id; it may be deleted.")],
    *,
    yes: Yes = False,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Erase addresses, clients and details of what an account did, and of what was done to it.

    Who did what to whom, when, and how it ended stays, and the chain stays whole. That it was done is a record.
    """
    _confirm("These details cannot be brought back.", yes=yes)

    async def act(gate: "Limen") -> int:
        return await gate.audit.erase(account_id, actor=ACTOR)

    count = _with_storage(act, env_file)
    if json:
        show_json({"id": account_id, "records": count})
    else:
        say(f"The details of {count} records were erased.")


@app.command()
def prune(
    older_than: Annotated[
        int, typer.Option("--older-than", metavar="DAYS", min=1, help="Remove what was sealed earlier than this.")
    ],
    *,
    yes: Yes = False,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Remove the oldest records of the trail for good; what is left is verified from where it begins then.

    Export them first: limen audit export.
    """
    _confirm("These records cannot be brought back.", yes=yes)

    async def act(gate: "Limen") -> int:
        head = await gate.audit.head()
        return await gate.audit.prune(head.now - older_than * DAY_MS, actor=ACTOR)

    count = _with_storage(act, env_file)
    if json:
        show_json({"records": count})
    else:
        say(f"{count} records were removed.")


def _with_storage(act: Callable[["Limen"], Awaitable[T]], env_file: Path | None) -> T:
    """Open the database alone: nothing works in the background, and nothing is written that was not asked for."""
    from limen.wiring import Limen

    settings = load(env_file)
    logging.getLogger("limen").setLevel(logging.WARNING)

    async def run() -> T:
        gate = Limen(settings)
        await gate.storage.start(migrate=settings.migrate == "start")
        try:
            return await act(gate)
        finally:
            await gate.storage.stop()

    return asyncio.run(run())


def _as_json(record: "RecordView") -> dict[str, object]:
    return {
        "seq": record.seq,
        "time": rfc3339(record.time),
        "event": record.event,
        "actor": record.actor,
        "source": record.source,
        "target": record.target,
        "outcome": record.outcome,
        "request_id": record.request_id,
        "data": record.data,
    }


def _exported(each: "SealedRecord") -> str:
    seal, record = each.seal, each.record
    told: dict[str, object] = {"seq": seal.seq, "missing": True} if record is None else _as_json(record)
    if record is not None:
        told["user_agent"] = record.user_agent
    told["seal"] = {
        "place": seal.number,
        "time": rfc3339(seal.sealed_at),
        "kid": seal.kid,
        "nonce": None if seal.nonce is None else seal.nonce.hex(),
        "details": seal.details.hex(),
        "digest": seal.digest.hex(),
        "link": seal.link.hex(),
    }
    return dumps(told, ensure_ascii=False)


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


def _confirm(what: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(what, "There is no terminal to ask on; --yes says that it is meant.")
    if not typer.confirm(f"{what} Go on?", default=False, err=True):
        raise Refused("Nothing was done.")


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
