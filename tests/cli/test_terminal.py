import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.cli.conftest import PASSWORD, Run

LIMEN = Path(sys.executable).parent / "limen"
WITHIN_SECONDS = 60


def _take_the_terminal() -> None:
    # Its controlling terminal: without one Ctrl-C is a character like any other. And whoever starts the tests in the
    # background has them ignore Ctrl-C, which every program inherits.
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [LIMEN, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"},
            start_new_session=True,
            preexec_fn=_take_the_terminal,  # noqa: PLW1509 - no thread runs here
        )
        os.close(theirs)
        self.shown = ""

    def wait_for(self, text: str, times: int = 1) -> None:
        """Read until the text was shown so often."""
        deadline = time.monotonic() + WITHIN_SECONDS
        while self.shown.count(text) < times:
            assert time.monotonic() < deadline, self.shown
            if select.select([self.ours], [], [], 0.2)[0]:
                self.shown += self._read()

    def type_hidden(self, text: str, prompts: int) -> None:
        """Type once so many prompts were shown and the terminal no longer shows what is typed."""
        self.wait_for("assword:", prompts)
        deadline = time.monotonic() + WITHIN_SECONDS
        while termios.tcgetattr(self.ours)[3] & termios.ECHO:
            assert time.monotonic() < deadline, self.shown
            time.sleep(0.01)
        os.write(self.ours, text.encode())

    def end(self) -> int:
        """Read what is left and return the exit code."""
        try:
            while text := self._read():
                self.shown += text
            code = self.process.wait(WITHIN_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        return code

    def _read(self) -> str:
        try:
            return os.read(self.ours, 65536).decode()
        except OSError:  # how Linux says that the other end is closed
            return ""


@pytest.mark.usefixtures("installation")
def test_asks_for_the_password_twice_and_does_not_show_it() -> None:
    """In a terminal ``create`` asks for the password twice; what is typed is not shown."""
    terminal = Terminal("accounts", "create", "alice")
    terminal.type_hidden(f"{PASSWORD}\n", 1)
    terminal.type_hidden(f"{PASSWORD}\n", 2)
    assert terminal.end() == 0
    assert "alice was made." in terminal.shown
    assert PASSWORD not in terminal.shown


@pytest.mark.usefixtures("installation")
def test_ctrl_c_at_the_prompt_is_130(run: Run) -> None:
    """Ctrl-C at the prompt ends the command with 130, without a traceback, and nothing is made."""
    terminal = Terminal("accounts", "create", "alice")
    terminal.type_hidden("\x03", 1)
    assert terminal.end() == 130
    assert "Traceback" not in terminal.shown
    assert run("accounts", "show", "alice").code == 1


@pytest.mark.usefixtures("installation")
def test_tables_are_framed_in_a_terminal_and_plain_elsewhere(run: Run) -> None:
    """A terminal gets frames, a pipe aligned columns without a single escape sequence."""
    run("accounts", "create", "alice", "--password-stdin", stdin=PASSWORD)
    terminal = Terminal("accounts", "list")
    assert terminal.end() == 0
    assert re.search("[│┃]", terminal.shown)
    plain = run("accounts", "list").out
    assert "alice" in plain
    assert not re.search("[│┃\x1b]", plain)


BLOCKED = ("fastapi", "starlette", "uvicorn", "aiosqlite")


@pytest.mark.usefixtures("installation")
def test_accounts_need_no_web_framework() -> None:
    """Accounts are managed where neither FastAPI nor Starlette nor a server is installed."""
    block = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED!r}))"
    code = f"{block}; from limen.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code]
    made = [*command, "accounts", "create", "alice", "--password-stdin"]
    assert subprocess.run(made, input=PASSWORD, text=True, capture_output=True, timeout=60).returncode == 0
    for arguments in (["accounts", "list"], ["doctor"]):
        done = subprocess.run([*command, *arguments], text=True, capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), arguments


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize("package", ["uvicorn", "asyncpg"])
@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_missing_extra_is_said(run: Run, monkeypatch: pytest.MonkeyPatch, command: str, package: str) -> None:
    """Where the server's packages are missing, ``serve`` and ``demo`` end with 3 and the line that installs them."""
    monkeypatch.setattr("limen.cli.extras.find_spec", lambda name: None if name == package else object())
    done = run(command)
    assert done.code == 3
    assert 'pip install "limen[server]"' in done.err
