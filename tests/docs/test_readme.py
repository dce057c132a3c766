"""The README is run as printed: its application, its commands, and the answers that it shows."""

import ast
import contextlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, Block, blocks
from tests.support.ports import free_port

README = (ROOT / "README.md").read_text(encoding="utf-8")
READY_WITHIN_SECONDS = 60
_MARK = "@@ the next block @@"
_NUMBERED = re.compile(r" +# [1-5]$")


def _walkthrough() -> list[Block]:
    section = README.split("## Guard an application of your own")[1].split("\n## ")[0]
    return [block for block in blocks(section) if block.language in {"sh", "python", "text"}]


def _application() -> str:
    return next(block.text for block in _walkthrough() if block.language == "python")


def _environment() -> dict[str, str]:
    """Return the environment of somebody who has no settings yet."""
    ours = ("LIMEN_", "PYTHON", "COV", "VIRTUAL_ENV", "PIP_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _install(place: Path, printed: str) -> None:
    """Run the lines that install limen, with the packages of the environment of these tests instead of an index."""
    (place.parent / "limen").symlink_to(ROOT)
    make, activate, install = printed.splitlines()
    packages = sysconfig.get_path("purelib")
    known = f'echo {packages} > "$(echo venv/lib/python*/site-packages)/locked.pth"'
    # A script in the way pip writes it: what the index would have brought along with uvicorn.
    script = "#!%s\\nimport sys\\nfrom uvicorn import main\\nsys.exit(main())\\n"
    uvicorn = f'printf "{script}" "$PWD/venv/bin/python" > venv/bin/uvicorn; chmod +x venv/bin/uvicorn'
    # PIP_NO_BUILD_ISOLATION is one of the options that are switched on by saying no.
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_QUIET": "1"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-ec", "\n".join([make, known, uvicorn, activate, install])],
        cwd=place,
        env={**_environment(), **offline, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PATH": path},
        check=True,
        timeout=100,
    )


@contextlib.contextmanager
def _server(place: Path, printed: str, port: int) -> Iterator[None]:
    """Run a block that ends with a server until the block ends."""
    *before, last = printed.splitlines()
    log = place / "server.log"
    with log.open("wb") as output:
        lines = [". venv/bin/activate", *before, f"exec {last}"]
        running = subprocess.Popen(
            ["bash", "-ec", "\n".join(lines)], cwd=place, env=_environment(), stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while True:
            assert running.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/notes", timeout=5)
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        running.terminate()
        running.wait(20)


def _fits(shown: str, output: str) -> bool:
    """Tell whether every shown line is in the output, in their order, the first and last being its first and last."""
    wanted = [re.compile(".*".join(map(re.escape, line.split("…"))) + r"\Z") for line in shown.splitlines()]
    given = [line.rstrip("\r") for line in output.strip("\n").splitlines()]
    if not given or not wanted[0].match(given[0]) or not wanted[-1].match(given[-1]):
        return False
    rest = iter(given)
    return all(any(line.match(candidate) for candidate in rest) for line in wanted)


@pytest.mark.timeout(240)
def test_the_walkthrough_does_what_it_prints(tmp_path: Path) -> None:
    """Every line of the section is run by a shell in an empty folder, and every answer is the one that is shown."""
    place = tmp_path / "application"
    place.mkdir()
    port = free_port()
    steps = [Block(block.language, block.text.replace("8000", str(port))) for block in _walkthrough()]
    install, *rest = [step for step in steps if step.language != "python"]
    _install(place, install.text)
    (place / "notes.py").write_text(_application(), encoding="utf-8")
    server, *rest = rest
    pairs = list(zip(rest, [*rest[1:], Block("", "")], strict=True))
    commands = [(this.text, after.text) for this, after in pairs if this.language == "sh" and after.language == "text"]
    script = "".join(
        f"{step.text}\necho\necho '{_MARK}'\n" if after.language == "text" else step.text
        for step, after in pairs
        if step.language == "sh"
    )
    with _server(place, server.text, port):
        done = subprocess.run(
            ["bash", "-e"],
            input=script,
            cwd=place,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert done.returncode == 0, done.stderr + done.stdout
    outputs = done.stdout.split(_MARK)[:-1]
    assert len(outputs) == len(commands) >= 5
    # The first output begins with what making the accounts printed.
    outputs[0] = outputs[0][outputs[0].index("HTTP/1.1") :]
    for (command, shown), output in zip(commands, outputs, strict=True):
        assert _fits(shown, output), f"{command}\nshown:\n{shown}\nis:\n{output}"
    assert (place / ".env").stat().st_mode & 0o077 == 0


def test_the_guard_is_five_lines() -> None:
    """The sample marks five lines; without them it is an ordinary FastAPI application that knows nothing of limen."""
    lines = _application().splitlines()
    added = [line for line in lines if _NUMBERED.search(line)]
    assert [line[-1] for line in added] == list("12345")
    without = "\n".join(line for line in lines if line not in added)
    assert "limen" not in without
    assert "roles" not in without
    names: dict[str, object] = {}
    exec(compile(ast.parse(without), "notes.py", "exec"), names)  # noqa: S102 - the README's own sample
    assert "app" in names


def test_what_is_installed_is_offered() -> None:
    """The extra that the README installs is one of the project's, with the server that it starts."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = re.findall(r"\.\./limen\[(\w+)\]", README)
    assert extras == ["server"]
    assert any(line.startswith("uvicorn") for line in project["optional-dependencies"]["server"])


@pytest.mark.parametrize("command", ["run", "test", "setup"])
def test_the_commands_are_targets(command: str) -> None:
    """Each make command of the README is a target, and a command of the script behind the Makefile."""
    assert f"make {command}" in README
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    told = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "dev.py"), "--help"], capture_output=True, text=True, timeout=30
    )
    assert command in told.stdout


def test_no_marketing_and_no_badges() -> None:
    """The README has no pictures, no badges and nothing beyond plain letters and punctuation."""
    assert "![" not in README
    assert not [character for character in README if ord(character) > 0x2FFF]


def test_a_wrong_answer_is_noticed() -> None:
    """The comparison of the walkthrough fails on another status, another body, a missing header and other order."""
    output = 'HTTP/1.1 401 Unauthorized\r\na: 1\r\nb: 2\r\n\r\n{"code":"x","trace_id":"1"}'
    body = '{"code":"x","trace_id":"…"}'
    assert _fits(f"HTTP/1.1 401 Unauthorized\na: 1\n{body}", output)
    assert not _fits(f"HTTP/1.1 403 Forbidden\n{body}", output)
    assert not _fits('HTTP/1.1 401 Unauthorized\n{"code":"y"}', output)
    assert not _fits(f"HTTP/1.1 401 Unauthorized\nc: 3\n{body}", output)
    assert not _fits(f"HTTP/1.1 401 Unauthorized\nb: 2\na: 1\n{body}", output)


def test_curl_and_bash_are_here() -> None:
    """The walkthrough is run by the programs that it names."""
    assert shutil.which("curl")
    assert shutil.which("bash")
