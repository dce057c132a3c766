"""Run the installed `limen check` on limen's own server, on the orders example, and on what is bad on purpose.

.venv/bin/python tools/check_endpoints.py .venv/bin/limen
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parent.parent
SERVER = """
from limen.server.standalone import application
from limen.settings import Settings

def served():
    return application(Settings())
"""


def checked(program: Path, target: str, folder: Path, *, ends_with: int) -> dict[str, Any]:
    """Check an application in a folder and return the report.

    Raises:
        RuntimeError: the command ended with another code.
    """
    started = time.monotonic()
    command = [str(program), "check", target, "--format", "json"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if ended.returncode != ends_with:
        raise RuntimeError(f"limen check {target} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    told = cast("dict[str, Any]", json.loads(ended.stdout))
    found, routes = len(told["findings"]), told["routes"]
    print(f"{target}: {routes} routes, {found} findings, after {time.monotonic() - started:.1f} s")
    return told


def clean(program: Path, target: str, folder: Path, *, more_than: int) -> None:
    """Demand that an application is clean, and that enough of it was seen.

    Raises:
        RuntimeError: there are findings, open or unknown routes, or too few routes.
    """
    told = checked(program, target, folder, ends_with=0)
    if told["findings"] or told["open"] or told["unknown"] or told["routes"] <= more_than:
        raise RuntimeError(f"{target} is not clean, or not seen: {json.dumps(told, indent=1)}")


def main() -> int:
    """Check all three with the program that the command line names; return 0, or raise."""
    program = Path(sys.argv[1]).absolute()
    clean(program, "examples.orders.main:application", ROOT, more_than=50)
    with tempfile.TemporaryDirectory(prefix="limen-server-") as folder:
        (Path(folder) / "server.py").write_text(SERVER, encoding="utf-8")
        clean(program, "server:served", Path(folder), more_than=35)
    bad = checked(program, "bad:app", ROOT / "examples" / "endpoints", ends_with=1)
    rules = {each["id"] for each in bad["findings"]}
    print(f"bad:app has findings of {len(rules)} rules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
