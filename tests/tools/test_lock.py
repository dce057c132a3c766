from __future__ import annotations

import hashlib
import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools import lock

ROOT = Path(__file__).resolve().parents[2]
FILES = ("run", "test", "oldest", "postgres", "valkey", "gateways", "openid")
PLATFORMS = (
    {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux"},
    {"sys_platform": "darwin", "os_name": "posix", "platform_system": "Darwin"},
    {"sys_platform": "win32", "os_name": "nt", "platform_system": "Windows"},
)
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LINE = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ;]+)(?: ; (?P<marker>[^\\]+?))? \\")


Exported = dict[str, list[tuple[Version, Marker | None]]]


def exported(name: str) -> Exported:
    """Return what one requirement file names: versions, and where each of them holds."""
    found: Exported = {}
    for line in (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(("#", " ")):
            continue
        match = LINE.fullmatch(line)
        assert match, f"{name}.txt: not a locked requirement: {line}"
        marker = Marker(match["marker"]) if match["marker"] else None
        found.setdefault(match["name"], []).append((Version(match["version"]), marker))
    return found


def installed(locked: Exported, environment: dict[str, str]) -> dict[str, list[Version]]:
    """Return what pip would install from a requirement file in one environment."""
    holding = {
        name: [version for version, marker in versions if marker is None or marker.evaluate(environment)]
        for name, versions in locked.items()
    }
    return {name: versions for name, versions in holding.items() if versions}


def settings() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def group(name: str) -> list[str]:
    """Return the requirements of one dependency group and of those that it includes."""
    found: list[str] = []
    for entry in settings()["dependency-groups"][name]:
        found += group(entry["include-group"]) if isinstance(entry, dict) else [entry]
    return found


def direct(name: str) -> list[Requirement]:
    """Return what pyproject.toml asks for in one requirement file."""
    project = settings()["project"]
    extras = project["optional-dependencies"]
    asked = {
        "run": [*project["dependencies"], *extras["server"], *group("build")],
        "test": [*project["dependencies"], *extras["server"], *extras["fastapi"], *group("dev")],
        "postgres": group("postgres-server"),
        "valkey": group("valkey-server"),
        "gateways": group("gateway-servers"),
        "openid": group("openid-providers"),
        "oldest": [*extras["fastapi"], *(line for line in project["dependencies"] if line.startswith("starlette"))],
    }
    return [Requirement(line) for line in asked[name]]


def environments() -> list[dict[str, str]]:
    """Return the markers' values of each supported Python on each system."""
    common = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    return [
        {**common, **platform, "python_version": python, "python_full_version": f"{python}.1"}
        for platform in PLATFORMS
        for python in PYTHONS
    ]


@pytest.mark.parametrize("name", FILES)
def test_each_direct_requirement_is_met(name: str) -> None:
    """On each system and Python, each requirement of pyproject.toml has one locked version, and it satisfies it."""
    locked = exported(name)
    for requirement in direct(name):
        for environment in environments():
            if requirement.marker and not requirement.marker.evaluate(environment):
                continue
            versions = installed(locked, environment)[canonicalize_name(requirement.name)]
            assert len(versions) == 1, f"{requirement} in {environment}: {versions}"
            assert requirement.specifier.contains(versions[0], prereleases=True), f"{requirement}: {versions[0]}"


def test_running_is_a_part_of_testing() -> None:
    """What is tested is what runs: both files name the same versions."""
    for environment in environments():
        run, test = (installed(exported(name), environment) for name in ("run", "test"))
        assert {name: test[name] for name in run} == run


def test_the_oldest_is_the_lower_bound() -> None:
    """The tests on the oldest framework use exactly the version from which on limen says to work."""
    locked = exported("oldest")
    for requirement in direct("oldest"):
        bound = next(part.version for part in requirement.specifier if part.operator == ">=")
        assert [version for version, _ in locked[requirement.name]] == [Version(bound)]


@pytest.mark.parametrize("name", FILES)
def test_exports_are_of_this_lock(name: str) -> None:
    """Each requirement file names the digest of the uv.lock that it was made from: `make lock` makes them together."""
    digest = hashlib.sha256((ROOT / "uv.lock").read_bytes()).hexdigest()
    assert f"# uv.lock sha256:{digest}\n" in (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def test_the_lock_is_of_this_project() -> None:
    """uv.lock was made from the requirements that pyproject.toml names now."""
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    me = next(package for package in locked["package"] if package["name"] == "limen")
    assert me["version"] == settings()["project"]["version"]
    assert locked["requires-python"] == settings()["project"]["requires-python"]

    def bare(name: str, specifier: str) -> tuple[str, str]:
        return canonicalize_name(name), ",".join(sorted(specifier.replace(" ", "").split(",")))

    told = {bare(entry["name"], entry.get("specifier", "")) for entry in me["metadata"]["requires-dist"]}
    project = settings()["project"]
    asked = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    assert told == {bare(line.name, str(line.specifier)) for line in map(Requirement, asked)}
    for name in settings()["dependency-groups"]:
        told = {bare(entry["name"], entry.get("specifier", "")) for entry in me["metadata"]["requires-dev"][name]}
        assert told == {bare(line.name, str(line.specifier)) for line in map(Requirement, group(name))}


@pytest.mark.parametrize("path", ["uv.lock", *(f"requirements/{name}.txt" for name in FILES)])
def test_no_other_host_and_no_path(path: str) -> None:
    """A lock names the public index or nothing: no mirror, no index line, no path of the machine that made it."""
    text = (ROOT / path).read_text(encoding="utf-8")
    assert lock.strangers(text) == set()
    assert not re.search(r"(?m)^\s*-|file:|(?<![\w.])/(root|home|tmp|opt|work|Users)/", text.replace("    --hash", ""))


@pytest.mark.parametrize(
    "address",
    [
        "http://index.example",
        "file://",
        "https://me:secret@index.example",
        "https://index.example:8443",
        "https://mirror",
        "https://10.0.0.7",
        "https://mirror.internal",
    ],
)
def test_strangers_are_found(address: str) -> None:
    """The check that guards `make lock` sees local files, passwords in an address, and machines of one house."""
    assert lock.strangers(f'"https://index.example/simple" "{address}/simple"') == {address}


def test_a_mirror_beside_the_index_is_found() -> None:
    """The index and its files are two hosts; a third one is somebody's mirror."""
    index = "https://index.example/simple https://files.example/a.whl"
    assert lock.strangers(index) == set()
    assert "https://mirror.example" in lock.strangers(f"{index} https://mirror.example/a.whl")


def test_everything_has_a_wheel() -> None:
    """Nothing has to be built, for building would fetch what no lock names."""
    locked = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    without = [package["name"] for package in locked["package"] if not package.get("wheels")]
    assert without == ["limen"]


def test_the_build_backend_is_locked() -> None:
    """pyproject.toml builds with what the requirement files hold."""
    for line in settings()["build-system"]["requires"]:
        assert line in group("build")
        assert canonicalize_name(Requirement(line).name) in exported("run")
