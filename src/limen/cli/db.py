"""``limen db``: the schema of the database, and what is to be done after a backup came back."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limen.cli.configuration import ACTOR, EnvFile, Json, load
from limen.cli.exits import Exit, Refused, UsageError
from limen.cli.seed import seed
from limen.cli.terminal import note, say, show_json

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.features.maintenance.service import Restored
    from limen.settings import Settings
    from limen.storage import Schema, Storage

UPGRADE = "limen db upgrade"
_WHAT_ENDS = "Every session of every account ends: everybody has to log in again."

app = typer.Typer(no_args_is_help=True, help="The database: its schema, and what is due after a restore.")
app.command(hidden=True)(seed)


@app.command()
def current(env_file: EnvFile = None, json: Json = False) -> int:
    """Print the revision of the database's schema and of this version; exit 1 where they do not go together.

    It changes nothing, and makes no database where there is none.
    """
    known = asyncio.run(_storage(env_file).schema())
    if json:
        told = {"database": known.revision, "code": known.expected, "standing": str(known.standing)}
        show_json(told if known.suits else {**told, "run": _remedy(known)})
    else:
        say(f"database: {known.revision or 'no schema'}", f"code:     {known.expected}", f"standing: {known.standing}")
        if not known.suits:
            note(f"run: {_remedy(known)}")
    return Exit.DONE if known.suits else Exit.REFUSED


@app.command()
def upgrade(env_file: EnvFile = None, json: Json = False) -> None:
    """Bring the schema up to date now, as a start does unless LIMEN_MIGRATE says never.

    Make a backup first. Processes of the version before go on working meanwhile and afterwards.
    """
    storage = _storage(env_file)

    async def run() -> "tuple[Schema, Schema]":
        before = await storage.schema()
        await storage.start()
        try:
            return before, await storage.schema()
        finally:
            await storage.stop()

    before, after = asyncio.run(run())
    if json:
        show_json({"from": before.revision, "to": after.revision, "changed": before.revision != after.revision})
    elif before.revision == after.revision:
        say(f"The schema is {after.revision} already.")
    else:
        say(f"The schema was brought from {before.revision or 'nothing'} to {after.revision}.")


@app.command()
def restored(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """End every session, after a backup was restored or a failover lost what was written last.

    A restored database calls spent refresh tokens current and ended sessions alive. Afterwards none of them works, in
    any process, within two seconds. API keys wait to be confirmed, since one that was revoked meanwhile is alive again:
    limen api-keys confirm. Requests for approvals that are pending are withdrawn. It goes in batches and may be
    interrupted: run it again, and it begins anew.
    """
    _confirm(yes=yes)

    try:
        done = asyncio.run(_restored(load(env_file)))
    except KeyboardInterrupt:
        note("interrupted: some accounts are done and some are not; run it again")
        raise
    if json:
        counts = {"accounts": done.accounts, "sessions": done.sessions, "api_keys": done.keys}
        show_json({**counts, "approvals": done.requests})
        return
    say(f"{done.sessions} sessions of {done.accounts} accounts were ended.")
    if done.keys:
        say(f"{done.keys} API keys open nothing until they are confirmed: limen api-keys confirm ACCOUNT ID")
    if done.requests:
        say(f"{done.requests} requests for approvals were withdrawn; they may have been decided since the backup.")
    note("access tokens that only the lost database knew of live on for at most 15 minutes; to end these as well,")
    note("replace LIMEN_JWT_ACCESS_SECRET at once, without keeping the old one in LIMEN_JWT_ACCESS_SECRETS_ACCEPTED")


async def _restored(settings: "Settings") -> "Restored":
    from limen.wiring import Limen

    gate = Limen(settings)
    # Only its storage is started: the gate itself would follow, every second, the very list that is being written.
    await gate.storage.start(migrate=settings.migrate == "start")
    try:
        total = await gate.maintenance.count_accounts()
        with _progress(total) as on_batch:
            return await gate.maintenance.restored(actor=ACTOR, on_batch=on_batch)
    finally:
        await gate.storage.stop()


def _confirm(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(_WHAT_ENDS, "There is no terminal to ask on; --yes says that it is meant.")
    if not typer.confirm(f"{_WHAT_ENDS} Go on?", default=False, err=True):
        raise Refused("Nothing was done.", "Without it, what had ended before the restore may be alive again.")


@contextmanager
def _progress(total: int) -> "Iterator[Callable[[Restored], None]]":
    """Show how far it is where somebody looks; nothing is printed otherwise."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("ending sessions"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=total)
        yield lambda done: shown.update(task, completed=done.accounts)


def _storage(env_file: Path | None) -> "Storage":
    from limen.storage import open_storage

    settings = load(env_file)
    return open_storage(settings.database_url, pool_size=1)


def _remedy(known: "Schema") -> str:
    return UPGRADE if known.standing == "behind" else "the newer limen, whose schema this is"
