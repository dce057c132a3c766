"""The lines of the page «What limen has» are run, as printed, beside a running demo."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, blocks, rows
from tests.support.ports import free_port

PAGE = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
READY_WITHIN_SECONDS = 60
THINGS = {cells[0]: cells for cells in rows(PAGE, "thing")}

# What the page must have a row for: each thing that this version has to do.
EXPECTED = {
    "registration", "login", "one answer", "refresh", "a lost answer", "reuse", "logout", "logout everywhere",
    "who am I", "passwords", "changing the password", "tokens", "the one door", "the guard", "roles",
    "permissions", "live check", "no store call", "the example", "errors", "strict input", "security headers",
    "CORS", "logs", "events", "settings", "health", "SQLite", "faults", "accounts", "the server", "the demo",
    "testing kit", "two commands", "a browser's session", "forged requests", "an API key", "a service",
    "keys that others verify by", "messages", "a message that comes twice", "a gateway's question",
    "a service behind a gateway", "behind a proxy", "single sign-on", "approvals",
}  # fmt: skip


@dataclass
class Demo:
    """A running demo, and the folder that it runs in."""

    place: Path
    port: int


def _line(cell: str) -> str:
    assert cell.startswith("`"), cell
    assert cell.endswith("`"), cell
    return cell[1:-1]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A folder like a checkout after `make run`, with the demo running in it."""
    place = tmp_path_factory.mktemp("checkout")
    (place / ".venv").symlink_to(sys.prefix)
    (place / "tools").symlink_to(ROOT / "tools")
    # No link: from a folder behind one, «..» leads elsewhere.
    shutil.copytree(ROOT / "examples" / "endpoints", place / "examples" / "endpoints")
    port = free_port()
    output = place / "output.txt"
    with output.open("wb") as stream:
        command = [".venv/bin/limen", "demo", "--port", str(port)]
        process = subprocess.Popen(command, cwd=place, env=_environment(), stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while True:
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5),
            ):
                break
            time.sleep(0.1)
        yield Demo(place, port)
    finally:
        process.terminate()
        process.wait(30)


def _environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LIMEN_", "PYTHON", "COV"))}
    return {**clean, "LIMEN_BCRYPT_COST": "10"}


@pytest.mark.parametrize("thing", THINGS)
def test_the_line_shows_what_it_says(demo: Demo, thing: str) -> None:
    """Pasted after the helpers of the page, the line prints what its row says."""
    _, _, line, shows, _ = THINGS[thing]
    helpers = next(block.text for block in blocks(PAGE) if block.language == "sh")
    script = helpers.replace("8000", str(demo.port)) + _line(line) + "\n"
    done = subprocess.run(
        ["bash"], input=script, cwd=demo.place, env=_environment(), capture_output=True, text=True, timeout=60
    )
    assert _line(shows) in done.stdout + done.stderr
    # A helper that failed would say so, and the line might still show what it says.
    assert "command not found" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "curl:" not in done.stderr


def test_each_thing_has_its_row() -> None:
    """Nothing that limen has to do is missing from the page, and no row stands there twice."""
    assert not EXPECTED - THINGS.keys()
    assert len(THINGS) == len(rows(PAGE, "thing"))


def test_a_line_can_be_pasted() -> None:
    """No line has a bar in it, which a table would need escaped: it is the same in the source as on the page."""
    source = [line for line in PAGE.splitlines() if line.startswith("| ")]
    assert not [line for line in source if "\\|" in line]
