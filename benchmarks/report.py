"""Prints what was measured as a table, and writes it as JSON."""

import json
import os
import platform
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row
from benchmarks.servers import cores

LIBRARIES = (
    "limen", "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "granian", "msgspec", "bcrypt", "cryptography",
    "pyjwt", "joserfc", "asyncpg",
)  # fmt: skip


def surroundings() -> dict[str, Any]:
    """Return what the figures depend on: the machine, the versions, and what else ran."""
    return {
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cores": len(cores()),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "libraries": {name: version(name) for name in LIBRARIES},
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def figure(value: float | None) -> str:
    """Return a figure with as many digits as mean something."""
    if value is None:
        return ""
    if abs(value) >= 1_000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> Table:
    """Return the rows as a table."""
    made = Table(title="limen: measured beside its floors and peers", show_lines=False)
    for heading in ("what", "limen", "against", "ratio", "target", "reached", "rounds"):
        made.add_column(heading, justify="left" if heading in ("what", "against", "reached") else "right")
    words = {True: "[green]yes[/]", False: "[red]NO[/]", None: ""}
    for row in rows:
        what = f"{row.what}\n[dim]{row.note}[/]" if row.note else row.what
        against = f"{figure(row.other)} ({row.other_is})" if row.other is not None else ""
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        target = "" if row.target is None else str(row.target)
        limen = f"{figure(row.limen)} {row.unit}"
        made.add_row(what, limen, against, ratio, target, words[row.reached], str(row.rounds))
    return made


def show(rows: Sequence[Row], before: dict[str, Any], console: Console) -> None:
    """Print the table and what it was measured on."""
    console.print(table(rows))
    libraries = ", ".join(f"{name} {number}" for name, number in before["libraries"].items())
    console.print(
        f"{before['cores']} cores ({before['processor']}), {before['system']}, {before['python']},"
        f" SQLite {before['sqlite']}, {libraries}",
        style="dim",
        highlight=False,
    )
    loads = " / ".join(f"{load:.2f}" for load in (before["load_average"][0], os.getloadavg()[0]))
    console.print(
        f"Load average over a minute, before / after: {loads}; the benchmarks themselves are part of the latter."
    )


def write(rows: Sequence[Row], before: dict[str, Any], path: Path) -> None:
    """Write the same as JSON."""
    path.parent.mkdir(exist_ok=True)
    content = {**before, "rows": [{**asdict(row), "reached": row.reached} for row in rows]}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
