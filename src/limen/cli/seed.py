"""``limen db seed``: made-up accounts in bulk, to measure how an installation bears them."""

import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from limen.cli.configuration import ACTOR, EnvFile, Json, with_gate
from limen.cli.exits import Refused, UsageError
from limen.cli.terminal import note, say, show_json

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.wiring import Limen

BATCH = 10_000
"""Accounts in one transaction."""

Seeded = dict[str, object]


def seed(
    *,
    accounts: Annotated[int, typer.Option("--accounts", min=1, metavar="N", help="How many accounts.")],
    sessions: Annotated[int, typer.Option("--sessions", min=0, metavar="M", help="How many sessions, in all.")] = 0,
    role: Annotated[list[str] | None, typer.Option("--role", metavar="R", help="A role each of them holds.")] = None,
    add: Annotated[bool, typer.Option("--add", help="Add to the accounts that are there.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Say that it is meant.")] = False,
    env_file: EnvFile = None,
    json: Json = False,
) -> None:
    """Fill a database with made-up accounts, to measure with.

    All have one password, which is printed. Their sessions are rows that make tables as large as they would be: there
    is no token for any of them, and none can be made. Stopped in between it leaves whole accounts.
    """
    if not yes:
        raise UsageError("This fills the database with made-up accounts.", "--yes says that it is meant.")

    async def act(gate: "Limen") -> Seeded:
        there = await gate.maintenance.count_accounts()
        if there and not add:
            raise Refused(f"The database has {there} accounts already.", "Use an empty one, or --add to add to these.")
        unknown = set(role or ()) - gate.catalogue.names
        if unknown:
            raise UsageError(
                f"There is no role {', '.join(sorted(unknown))}.", "limen roles list shows which there are."
            )
        with _progress(accounts) as on_batch:
            return await _fill(gate, accounts, sessions, role or [], on_batch)

    _show(with_gate(act, env_file), json=json)


async def _fill(
    gate: "Limen", accounts: int, sessions: int, roles: list[str], on_batch: Callable[[int], None]
) -> Seeded:
    from limen.core.events import Event, EventName, Outcome
    from limen.crypto.passwords import PasswordHasher
    from limen.storage.sql.seeding import Pattern, seeding

    settings = gate.settings
    password = secrets.token_urlsafe(18)
    pattern = Pattern(
        password_hash=PasswordHasher(settings.password_hasher, bcrypt_cost=settings.bcrypt_cost).hash(password),
        roles=roles,
        client_id=settings.audience,
        idle_ms=settings.refresh_ttl * 1000,
        max_ms=settings.session_max_ttl * 1000,
    )
    # Another one each time: what is added later has other names.
    prefix = f"seed-{secrets.token_hex(3)}-"
    digits = len(str(accounts - 1))

    def name(number: int) -> str:
        return f"{prefix}{number:0{digits}}"

    start = time.monotonic()
    async with seeding(settings.database_url) as database:
        done = 0
        while done < accounts:
            after = min(done + BATCH, accounts)
            share = sessions * after // accounts - sessions * done // accounts
            await database.add([name(number) for number in range(done, after)], share, pattern)
            done = after
            on_batch(done)
        await database.finish()
    seconds = time.monotonic() - start
    data: dict[str, object] = {"seeded": accounts, "sessions": sessions}
    await gate.sessions.record(Event(EventName.ACCOUNT_CREATED, Outcome.SUCCESS, actor=ACTOR, data=data))
    return {
        "accounts": accounts,
        "sessions": sessions,
        "seconds": round(seconds, 2),
        "first": name(0),
        "last": name(accounts - 1),
        "password": password,
    }


def _show(seeded: Seeded, *, json: bool) -> None:
    if json:
        show_json(seeded)
        return
    accounts, seconds = seeded["accounts"], seeded["seconds"]
    assert isinstance(accounts, int)
    assert isinstance(seconds, float)
    rate = round(accounts / max(seconds, 0.001))
    say(f"{accounts} accounts and {seeded['sessions']} sessions in {seconds:.1f} s: {rate} accounts a second.")
    say(f"names:    {seeded['first']} to {seeded['last']}", f"password: {seeded['password']}")
    note("all of these accounts have this one password: keep such a database where nobody else gets at it")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show how far it is where somebody looks; nothing is printed otherwise."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("making accounts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=total)
        yield lambda done: shown.update(task, completed=done)
