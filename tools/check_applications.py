"""Run `limen check` on applications that others wrote, and hold what it finds to what was read by hand.

Each file of tools/applications names one application, the versions to install, what the check tells of it, and the
verdict on each finding. The page docs/reference/check-applications.md is made of these files.

    .venv/bin/python -m tools.check_applications titiler tipg      # install, check, compare
    .venv/bin/python -m tools.check_applications all --environments /tmp/applications   # keep what was installed
    .venv/bin/python -m tools.check_applications tipg --write      # write the figures, never a verdict
    .venv/bin/python -m tools.check_applications tipg --read       # what has no verdict yet was read, and is true
    .venv/bin/python -m tools.check_applications --page            # make the page again
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from tools.applications_files import (
    FOLDER,
    PAGE,
    ROOT,
    SEVERITIES,
    STANDINGS,
    Application,
    all_applications,
    as_toml,
    page_of,
    read_file,
)

_LAUNCHER: Final = "launcher"


@dataclass(frozen=True)
class Told:
    """What one run of the check told.

    Attributes:
        routes: how many, and how many of each standing.
        severities: how many findings of each.
        findings: what it found, by rule and place.
        seconds: that the check took.
    """

    routes: dict[str, int]
    severities: dict[str, int]
    findings: dict[tuple[str, str], dict[str, Any]]
    seconds: float

    def by_rule(self) -> dict[str, int]:
        """Return how many findings each rule has."""
        return dict(sorted(Counter(rule for rule, _ in self.findings).items()))


def places_of(findings: Iterable[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return findings by rule and place.

    A place is the route, or the file with its line, or ``application``; the second finding of a rule at one place has
    ``(2)`` behind it.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for each in findings:
        if each["route"]:
            place = f"{each['method'] or 'ANY'} {each['route']}"
        else:
            place = f"{each['file']}:{each['line']}" if each["file"] else "application"
        key, count = place, 1
        while (each["id"], key) in found:
            count += 1
            key = f"{place} ({count})"
        found[each["id"], key] = each
    return found


def environment_of(application: Application, folder: Path, limen: Path) -> Path:
    """Make a virtual environment with an application and limen; return its folder of programs.

    Args:
        application: what is installed, unless it stands there already.
        folder: the environment's is below it.
        limen: the checkout whose limen is installed, each time anew.
    """
    place = folder / application.name
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        _install(python, *application.requirements)
    _install(python, "--reinstall-package", "limen", "--refresh-package", "limen", str(limen))
    return place / "bin"


def _install(python: Path, *arguments: str) -> None:
    uv = shutil.which("uv")
    if uv is not None:
        command = [uv, "pip", "install", "--quiet", "--python", str(python), *arguments]
    else:
        plain = [each for each in arguments if each not in {"--reinstall-package", "--refresh-package", "limen"}]
        again = ["--force-reinstall", "--no-deps"] if len(plain) < len(arguments) and _has_limen(python) else []
        command = [str(python), "-m", "pip", "install", "--quiet", *again, *plain]
    subprocess.run(command, check=True)


def _has_limen(python: Path) -> bool:
    return subprocess.run([str(python), "-c", "import limen"], capture_output=True, check=False).returncode == 0


def run_check(application: Application, programs: Path) -> Told:
    """Run `limen check` in an empty folder, as somebody would who has only installed the application.

    Raises:
        RuntimeError: the application could not be looked at; with what was said.
    """
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("LIMEN_", "PYTHON"))}
    with tempfile.TemporaryDirectory(prefix="limen-application-") as folder:
        launcher = {f"{_LAUNCHER}.py": application.launcher} if application.launcher else {}
        for name, text in (launcher | application.files).items():
            Path(folder, name).write_text(text, encoding="utf-8")
        begin = time.monotonic()
        ended = subprocess.run(
            [str(programs / "limen"), "check", application.target, "--format", "json", "--timeout", "300"],
            cwd=folder,
            env={**clean, "HOME": folder, **application.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - begin
    if ended.returncode not in {0, 1} or not ended.stdout:
        raise RuntimeError(f"{application.name}: limen check ended with {ended.returncode}: {ended.stderr.strip()}")
    told = json.loads(ended.stdout)
    routes = {"total": told["routes"], **{each: told[each] for each in STANDINGS}}
    by_severity = Counter(each["severity"] for each in told["findings"])
    severities = {each: by_severity[each] for each in SEVERITIES}
    return Told(routes, severities, places_of(told["findings"]), seconds)


def differences(application: Application, told: Told) -> list[str]:
    """Return what a run tells otherwise than the file, one line each."""
    lines = []
    pairs = (("routes", application.routes, told.routes), ("findings", application.findings, told.by_rule()))
    for what, before, now in (*pairs, ("findings", application.severities, told.severities)):
        lines += [
            f"{what}, {key}: {before.get(key, 0)} in the file, {now.get(key, 0)} now"
            for key in sorted(before.keys() | now.keys())
            if before.get(key, 0) != now.get(key, 0)
        ]
    gone = sorted(application.known() - told.findings.keys())
    return lines + [f"{rule} at {place} has a verdict and is not found any more" for rule, place in gone]


def without_verdict(application: Application, told: Told) -> list[tuple[str, str]]:
    """Return the rule and place of each finding that nobody has judged."""
    known = application.known()
    return [each for each in told.findings if each not in known]


def with_figures(application: Application, told: Told) -> Application:
    """Return the application with the figures of a run; verdicts on what is not found any more are left out."""
    true = {
        rule: tuple(place for place in places if (rule, place) in told.findings)
        for rule, places in application.true.items()
    }
    return msgspec.structs.replace(
        application,
        routes=told.routes,
        severities=told.severities,
        findings=told.by_rule(),
        true={rule: places for rule, places in true.items() if places},
        false=tuple(each for each in application.false if (each.rule, each.place) in told.findings),
    )


def with_rest_true(application: Application, told: Told) -> Application:
    """Return the application with every finding that had no verdict noted as read, and true."""
    true = {rule: list(places) for rule, places in application.true.items()}
    for rule, place in without_verdict(application, told):
        true.setdefault(rule, []).append(place)
    today = datetime.now(UTC).date().isoformat()
    return msgspec.structs.replace(
        application, true={rule: tuple(sorted(places)) for rule, places in true.items()}, read=today
    )


def print_told(console: Console, rows: list[tuple[Application, Told]]) -> None:
    """Print one line for each application, and what differs or has no verdict below."""
    table = Table(title="limen check on applications of others")
    for heading in ("application", "routes", *STANDINGS, *SEVERITIES, "false", "no verdict", "seconds"):
        table.add_column(heading, justify="left" if heading == "application" else "right")
    for application, told in rows:
        false = sum((each.rule, each.place) in told.findings for each in application.false)
        figures = (told.routes["total"], *(told.routes[each] for each in STANDINGS))
        counts = (*figures, *(told.severities[each] for each in SEVERITIES), false)
        rest = (len(without_verdict(application, told)), f"{told.seconds:.1f}")
        table.add_row(f"{application.name} {application.version}", *(str(each) for each in (*counts, *rest)))
    console.print(table)
    for application, told in rows:
        for line in differences(application, told):
            console.print(f"{application.name}: {line}", style="yellow", markup=False)
        for rule, place in without_verdict(application, told):
            finding = told.findings[rule, place]
            where = f"{finding['file']}:{finding['line']}"
            line = f"{application.name}: no verdict: {rule} {place}: {finding['what']} ({where})"
            console.print(line, markup=False, soft_wrap=True)


@contextlib.contextmanager
def _kept_or_temporary(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="limen-applications-") as made:
        yield Path(made)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return 1 where what is told differs from what the files say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="files of tools/applications, or all")
    parser.add_argument("--environments", type=Path, metavar="FOLDER", help="keep virtual environments here")
    parser.add_argument("--files", type=Path, default=FOLDER, metavar="FOLDER", help="where the files are")
    parser.add_argument("--limen", type=Path, default=ROOT, metavar="FOLDER", help="a checkout other than this one")
    parser.add_argument("--write", action="store_true", help="write the figures of this run")
    parser.add_argument("--read", action="store_true", help="note what has no verdict as read, and true")
    parser.add_argument("--page", action="store_true", help="make the page again")
    given = parser.parse_args(arguments)
    names = sorted(path.stem for path in given.files.glob("*.toml")) if given.names == ["all"] else given.names
    if given.environments is not None and given.environments.resolve().is_relative_to(ROOT):
        parser.error("environments do not belong into the project")
    rows: list[tuple[Application, Told]] = []
    is_same = True
    with _kept_or_temporary(given.environments) as folder:
        for name in names:
            path = given.files / f"{name}.toml"
            application = read_file(path)
            told = run_check(application, environment_of(application, folder, given.limen))
            if given.write or given.read:
                application = with_figures(application, told)
                application = with_rest_true(application, told) if given.read else application
                path.write_text(as_toml(application), encoding="utf-8")
            is_same &= not differences(application, told) and not without_verdict(application, told)
            rows.append((application, told))
    if rows:
        print_told(Console(width=None if sys.stdout.isatty() else 200), rows)
    if given.page:
        PAGE.write_text(page_of(all_applications(given.files)), encoding="utf-8")
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
