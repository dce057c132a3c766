"""Runs the benchmarks: ``python -m benchmarks [NAME…] [--quick] [--json FILE]``."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import (
    certificates,
    checking,
    cookies,
    guarded,
    headers,
    imports,
    keys,
    live,
    logins,
    memory,
    messages,
    policies,
    policies_sql,
    refreshes,
    report,
    scale,
    throttle,
    throughput,
    trail,
    valkey,
    verification,
    workers,
)
from benchmarks.peers import comparison
from benchmarks.rows import Benchmark, Effort, Row
from benchmarks.servers import ROOT
from tests.support.postgres import Lacking

BENCHMARKS: dict[str, Benchmark] = {
    "guarded": guarded.in_process,
    "headers": headers.headers,
    "cookies": cookies.cookies,
    "keys": keys.keys,
    "certificates": certificates.certificates,
    "messages": messages.messages,
    "policies": policies.policies,
    "policies-sql": policies_sql.conditions,
    "first-seen": guarded.under_uvicorn,
    "verification": verification.verification,
    "throughput": throughput.throughput,
    "peers": comparison.peers,
    "logins": logins.logins,
    "storm": logins.storm,
    "one-answer": logins.one_answer,
    "refreshes": refreshes.on_sqlite,
    "postgres": refreshes.on_postgres,
    "valkey": valkey.look_ups,
    "valkey-refreshes": valkey.refreshed,
    "trail": trail.trail,
    "import": imports.imports,
    "check": checking.checks,
    "throttle": throttle.throttle,
    "live": live.live,
    "workers": workers.workers,
    "scale": scale.scale,
    "memory": memory.memory,
}


def measure(names: Sequence[str], effort: Effort, console: Console) -> list[Row]:
    """Run the named benchmarks one after the other, and say which one runs."""
    rows: list[Row] = []
    for name in names:
        start = time.monotonic()
        console.print(f"{name} …", end=" ")
        try:
            rows += BENCHMARKS[name](effort)
        except Lacking as error:
            console.print(f"not measured; there is none of this: {error}")
            continue
        console.print(f"{time.monotonic() - start:.0f} s")
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON; 1 where a full run missed a target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure limen beside its floors.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones; all by default: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="one tiny round each: shows that they work, no more")
    parser.add_argument("--json", type=Path, default=ROOT / "var" / "bench.json", help="where the figures go")
    told = parser.parse_args(arguments)
    unknown = set(told.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    console = Console(stderr=True)
    before = report.surroundings()
    effort = Effort(told.quick, installs=bool(told.names) and not told.quick)
    rows = measure(told.names or list(BENCHMARKS), effort, console)
    report.show(rows, before, Console())
    report.write(rows, before, told.json)
    return 1 if not told.quick and any(row.reached is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
