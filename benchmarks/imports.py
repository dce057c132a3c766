"""Accounts of other software brought in: how many a minute, from a file to the database, durable and recorded."""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gates import ROLES, installation, settings_of
from benchmarks.postgres import durable_server, where
from benchmarks.rows import Effort, Row, Target
from limen import Limen
from limen.features.accounts.foreign import accounts_in
from limen.features.accounts.foreign_files import ForeignFile
from limen.features.accounts.importing import ImportTerms

ACCOUNTS = 100_000
TARGET = 100_000
_HASH = "pbkdf2_sha256$600000$M7KiVrbkVhRRSTjBjnQ0rT$72DLFDSnGwbdfBd4Blkm8o8NPOnd//ccqMz8+qjrPF0="


def imports(effort: Effort) -> Sequence[Row]:
    """Measure on both engines: a file of limen's own format, with an address, a hash and a role each."""
    with installation() as environment:
        rows = [asyncio.run(_measured(environment, "SQLite", "", effort))]
    with durable_server() as cluster, installation(database_url=cluster.create()) as environment:
        return [*rows, asyncio.run(_measured(environment, "PostgreSQL", where(cluster), effort))]


async def _measured(environment: dict[str, str], engine: str, note: str, effort: Effort) -> Row:
    count = 1_000 if effort.quick else ACCOUNTS
    rates: list[float] = []
    async with Limen(settings_of(environment), roles=ROLES).running() as gate:
        for turn in range(effort.rounds(3)):
            with tempfile.TemporaryDirectory() as folder:
                rates.append(await _imported(gate, Path(folder) / "accounts.jsonl", count, turn))
    return Row(
        "import",
        f"Accounts imported on {engine}, durable, each with its record",
        "accounts/min",
        statistics.median(rates),
        target=Target("at least", TARGET),
        rounds=len(rates),
        note=f"{count} in a file, one process, the trail sealed beside; {note}".removesuffix("; "),
    )


async def _imported(gate: Limen, path: Path, count: int, turn: int) -> float:
    with path.open("w") as out:
        for number in range(count):
            name = f"name{turn}-{number}"
            row = {"username": name, "email": f"{name}@example.org", "password_hash": _HASH, "roles": ["maker"]}
            out.write(json.dumps(row) + "\n")
    file = ForeignFile(path)
    try:
        start = time.perf_counter()
        terms = ImportTerms("jsonl", allow_roles=True)
        report = await gate.imports.run(accounts_in(file, "jsonl"), terms, actor="bench")
        seconds = time.perf_counter() - start
    finally:
        file.close()
    if report.imported != count:
        raise RuntimeError("not everybody was imported")
    return count / seconds * 60
