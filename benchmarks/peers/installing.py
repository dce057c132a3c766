"""Installs the peers into folders of their own under ``var/``, from locked and hashed lists, when asked to."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.servers import ROOT

SOURCES = Path(__file__).resolve().parent
PLACE = ROOT / "var" / "peers"
INSTALL_SECONDS = 300


class NotThereError(Exception):
    """A peer that cannot be measured here; its text says why."""


def nestjs(*, installs: bool) -> tuple[str, Path]:
    """Return the program ``node`` and the folder with the application and what it needs.

    Args:
        installs: whether it may be installed now.

    Raises:
        NotThereError: there is no node, or the application is not installed and cannot be.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None:
        raise NotThereError("there is no node on this machine")
    lists = [SOURCES / "nestjs" / name for name in ("package.json", "package-lock.json")]
    folder = PLACE / "nestjs"
    marker = _marker(folder, lists, node)
    if not marker.exists():
        if npm is None:
            raise NotThereError("there is no npm on this machine")
        _begin(folder, installs=installs)
        for path in lists:
            shutil.copy(path, folder)
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        marker.touch()
    shutil.copy(SOURCES / "nestjs" / "main.js", folder)
    return node, folder


def fastapi_users(*, installs: bool) -> Path:
    """Return the interpreter of the environment that has fastapi-users.

    Args:
        installs: whether it may be installed now.

    Raises:
        NotThereError: it is not installed and cannot be.
    """
    return _environment("fastapi-users", SOURCES / "fastapi_users.txt", installs=installs, of="peers")


def policies(*, installs: bool) -> Path:
    """Return the interpreter of the environment that has other libraries for policies.

    Args:
        installs: whether it may be installed now.

    Raises:
        NotThereError: it is not installed and cannot be.
    """
    return _environment("policies", SOURCES / "policies.txt", installs=installs, of="policies")


def _environment(name: str, requirements: Path, *, installs: bool, of: str) -> Path:
    folder = PLACE / name
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    marker = _marker(folder, [requirements], sys.version)
    if not marker.exists():
        _begin(folder, installs=installs, of=of)
        _run([sys.executable, "-m", "venv", str(folder)], PLACE)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*command, "--require-hashes", "--requirement", str(requirements)], PLACE)
        marker.touch()
    return python


def _marker(folder: Path, lists: Sequence[Path], program: str) -> Path:
    """Return the file that stands where these lists were installed to the end, for this program."""
    digest = hashlib.sha256(program.encode())
    for path in lists:
        digest.update(path.read_bytes())
    return folder / f"installed-{digest.hexdigest()[:16]}"


def _begin(folder: Path, *, installs: bool, of: str = "peers") -> None:
    if not installs:
        raise NotThereError(f"it is not installed: make bench ARGS={of} does that")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _run(command: list[str], folder: Path) -> None:
    name = " ".join(command[:2])
    try:
        done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise NotThereError(f"installing it took too long: {name}") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise NotThereError(f"it could not be installed ({name}): {lines[-1] if lines else 'no reason was given'}")
