"""``limen accounts import``: accounts of other software are brought in, with their hashes."""

import json as json_module
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from limen.cli.configuration import ACTOR, EnvFile, Json, with_gate, with_storage
from limen.cli.exits import Exit, UsageError
from limen.cli.terminal import note, say, show_json, table

if TYPE_CHECKING:  # for a fast start, not because of a cycle
    from limen.features.accounts.foreign import Read
    from limen.features.accounts.importing import ImportedRow, ImportReport, ImportTerms
    from limen.wiring import Limen

SHOWN = 20
"""Records that were not imported and are shown; all of them are in the file of --report."""

_MEANING = {
    "username_taken": "there is an account of that name",
    "id_or_name_taken": "somebody took the name, or the id was an account's",
    "id_taken": "the id stands in the file before",
    "duplicate": "the name stands in the file before",
    "username": "a username has 1 to 64 characters, and no spaces",
    "email": "this is not one e-mail address",
    "id": "the id is no UUID of version 7",
    "created_at": "the time cannot be",
    "role_unknown": "there is no such role: --role-map THEIRS=OURS",
    "roles_separated": "nobody may hold these roles at once",
    "hash_weak": "anybody can reverse the hash: --without-password brings the account without one",
    "hash_unknown": "the hash is of no scheme that is verified: --without-password",
    "hash_malformed": "the hash is damaged: --without-password",
    "hash_too_costly": "to verify the hash would take too long: --without-password",
    "without_password": "brought without a password, since the hash was refused",
    "second_factor": "it asks for a second factor there: --drop-second-factors",
    "service_account": "a service is made by limen services create",
    "malformed": "the record cannot be read",
    "too_long": "the record is too long",
    "file_broken": "the file cannot be read from here on",
    "not_begun": "a conflict ended the import before",
}


class Source(StrEnum):
    """From which software the file is."""

    JSONL = "jsonl"
    FASTAPI_USERS = "fastapi-users"
    DJANGO = "django"
    KEYCLOAK = "keycloak"


class OnConflict(StrEnum):
    """What is done where there is an account of that name."""

    SKIP = "skip"
    FAIL = "fail"


def import_accounts(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What the other software exported.")],
    *,
    source: Annotated[Source, typer.Option("--from", help="From which software it is.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    on_conflict: Annotated[
        OnConflict, typer.Option("--on-conflict", help="Where there is an account of that name.")
    ] = OnConflict.SKIP,
    allow_roles: Annotated[bool, typer.Option("--allow-roles", help="Give the accounts their roles.")] = False,
    role_map: Annotated[
        list[str] | None, typer.Option("--role-map", metavar="THEIRS=OURS", help="OURS may be empty, for no role.")
    ] = None,
    without_password: Annotated[
        bool, typer.Option("--without-password", help="Bring accounts whose hash is refused, without a password.")
    ] = False,
    trust_emails: Annotated[
        bool, typer.Option("--trust-emails", help="Addresses that were verified there count as verified here.")
    ] = False,
    drop_second_factors: Annotated[
        bool, typer.Option("--drop-second-factors", help="Bring accounts that ask for a second factor there.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="OUT", help="Write what became of each record, as JSON lines.")
    ] = None,
    env_file: EnvFile = None,
    json: Json = False,
) -> int:
    """Bring in accounts of other software, with their hashes; exit 1 where a record was refused.

    A hash is verified as it was made, and replaced at the first login. Run again, it skips who is there already.
    No role is given unless --allow-roles says so, and no mail is sent.
    """
    from limen.features.accounts.importing import ImportTerms

    roles = _role_map(role_map or [])
    if roles and not allow_roles:
        raise UsageError("--role-map gives roles only beside --allow-roles.", "Add --allow-roles.")
    terms = ImportTerms(
        source=source.value,
        allow_roles=allow_roles,
        role_map=roles,
        without_password=without_password,
        trust_emails=trust_emails,
        drop_second_factors=drop_second_factors,
        stop_at_conflict=on_conflict is OnConflict.FAIL,
        dry_run=dry_run,
    )
    done, problems, seconds = _run(file, terms, report, env_file)
    if json:
        show_json(_as_json(done, problems, terms, seconds))
    else:
        _tell(done, problems, terms, seconds)
    return Exit.REFUSED if done.refused or done.stopped else Exit.DONE


def _run(
    file: Path, terms: "ImportTerms", report: Path | None, env_file: Path | None
) -> "tuple[ImportReport, list[ImportedRow], float]":

    problems: list[ImportedRow] = []
    with _reading(file, terms.source) as (records, progress), _writing(report) as out:

        def on_row(row: "ImportedRow") -> None:
            if out is not None:
                out.write(json_module.dumps(asdict(row)) + "\n")
            if row.outcome != "imported" and len(problems) < SHOWN:
                problems.append(row)

        async def act(gate: "Limen") -> "ImportReport":
            with _progress(*progress) as shown:
                return await gate.imports.run(shown(records), terms, actor=ACTOR, on_row=on_row)

        start = time.monotonic()
        done = with_storage(act, env_file) if terms.dry_run else with_gate(act, env_file)
    return done, problems, time.monotonic() - start


@contextmanager
def _reading(path: Path, source: str) -> "Iterator[tuple[Iterator[Read], tuple[int, Callable[[], int]]]]":
    """Open the file; yield its records, its size, and what tells how far it was read."""
    from limen.features.accounts.foreign import accounts_in, accounts_of_rows
    from limen.features.accounts.foreign_files import ForeignFile
    from limen.storage.sql.foreign_tables import is_sqlite, rows_of

    try:
        file = ForeignFile(path)
        begins = file.begins_with()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Name the file that was exported.") from None
    try:
        if is_sqlite(begins):
            if source != Source.FASTAPI_USERS:
                raise UsageError(f"{path} is a database.", "Only --from fastapi-users reads a SQLite file.")
            with rows_of(path) as (rows, total, count):
                yield accounts_of_rows(rows), (total, count)
            return
        yield accounts_in(file, source), (file.size, lambda: file.position)
    finally:
        file.close()


@contextmanager
def _writing(path: Path | None) -> Iterator[IO[str] | None]:
    """Open the report, for nobody else to read: names are in it."""
    if path is None:
        yield None
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from None
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        yield out


def _role_map(given: list[str]) -> dict[str, str]:
    mapped = {}
    for each in given:
        theirs, sign, ours = each.rpartition("=")
        if not sign or not theirs:
            raise UsageError(f"{each!r} maps no role.", "Write --role-map THEIRS=OURS.")
        mapped[theirs] = ours
    return mapped


def _as_json(
    done: "ImportReport", problems: "list[ImportedRow]", terms: "ImportTerms", seconds: float
) -> dict[str, object]:
    return {
        "from": terms.source,
        "dry_run": terms.dry_run,
        "read": done.read,
        "imported": done.imported,
        "skipped": done.skipped,
        "refused": done.refused,
        "without_password": done.without_password,
        "codes": dict(sorted(done.codes.items())),
        "roles_left_out": dict(sorted(done.roles_left_out.items())),
        "stopped": done.stopped,
        "seconds": round(seconds, 2),
        "problems": [asdict(row) for row in problems],
    }


def _tell(done: "ImportReport", problems: "list[ImportedRow]", terms: "ImportTerms", seconds: float) -> None:
    verb = "would be imported" if terms.dry_run else "imported"
    say(f"{done.imported} accounts {verb}, {done.skipped} skipped, {done.refused} refused, in {seconds:.1f} s.")
    if done.without_password:
        say(f"{done.without_password} of them have no password yet: limen accounts set-password, or a forgotten one.")
    if done.codes:
        rows = [[code, str(count), _MEANING.get(code, "")] for code, count in sorted(done.codes.items())]
        table(["code", "records", "meaning"], rows)
    if problems:
        table(["line", "code", "their id"], [[str(row.line), row.code, row.key] for row in problems])
        left = done.skipped + done.refused - len(problems)
        if left > 0:
            note(f"and {left} more: --report OUT writes all of them")
    if done.roles_left_out:
        named = ", ".join(f"{role} ({count})" for role, count in sorted(done.roles_left_out.items())[:SHOWN])
        note(f"roles that were not given, for want of --allow-roles: {ascii(named)[1:-1]}")
    if done.stopped:
        note("a name was taken, and --on-conflict fail ended it; batches before are imported")


@contextmanager
def _progress(total: int, position: Callable[[], int]) -> "Iterator[Callable[[Iterator[Any]], Iterator[Any]]]":
    """Show how far it is where somebody looks; nothing is printed otherwise."""
    if not sys.stderr.isatty():
        yield lambda records: records
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("importing"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=total)

        def each(records: Iterator[Any]) -> Iterator[Any]:
            for number, record in enumerate(records):
                if number % 256 == 0:
                    with suppress(ValueError):  # the file was read to its end, and is closed
                        shown.update(task, completed=position())
                yield record
            shown.update(task, completed=total)

        yield each
