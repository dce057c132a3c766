"""The peers are installed when they are asked for, from locked lists, and a peer that is not there is told."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import policies
from benchmarks.peers import comparison, installing
from benchmarks.rows import Effort


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a place where no peer is installed."""
    folder = tmp_path / "peers"
    monkeypatch.setattr(installing, "PLACE", folder)
    return folder


@pytest.mark.serial
@pytest.mark.timeout(120)
def test_a_peer_that_is_not_there_is_told_in_its_row(place: Path) -> None:
    """What is here is measured all the same, nothing is held against it, and nothing is installed."""
    rows = comparison.peers(Effort(quick=True))
    assert [row.what.rpartition(" against ")[2] for row in rows] == [
        "NestJS-Fastify",
        "NestJS-Express",
        "fastapi-users on uvicorn",
    ]
    for row in rows:
        assert row.limen > 0
        assert (row.other, row.ratio, row.target) == (None, None, None)
        assert "not measured" in row.note
    assert not place.exists()


def test_a_machine_without_node_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no node, NestJS is not installed, also when that was asked for."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(installing.NotThereError, match="no node"):
        installing.nestjs(installs=True)
    assert not place.exists()


def test_an_installation_that_fails_is_told_and_not_taken_for_one(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What npm says last is the reason, and the next attempt begins anew."""
    for name, text in {"node": "exit 0", "npm": "echo 'no way out' >&2; exit 1"}.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for _ in range(2):
        with pytest.raises(installing.NotThereError, match="no way out"):
            installing.nestjs(installs=True)
    assert not list((place / "nestjs").glob("installed-*"))


def test_the_lists_are_locked() -> None:
    """Each package has a digest, and none says where it is loaded from: that is the installer's setting."""
    lock = json.loads((installing.SOURCES / "nestjs" / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert len(packages) > 100
    assert all("integrity" in package and "resolved" not in package for package in packages.values())
    pinned = (installing.SOURCES / "fastapi_users.txt").read_text()
    requirements = re.split(r"\n(?=\S)", pinned.strip())[1:]
    assert any(requirement.startswith("fastapi-users==") for requirement in requirements)
    assert all("==" in requirement and "--hash=sha256:" in requirement for requirement in requirements)
    assert "://" not in pinned


def test_other_libraries_for_policies_that_are_not_there_are_told_in_their_rows(place: Path) -> None:
    """What is here is measured all the same, and nothing is installed."""
    rows = [row for row in policies.policies(Effort(quick=True)) if " against " in row.what]
    assert {row.what.rpartition(" against ")[2] for row in rows} == {name for name, _ in policies.PEERS}
    for row in rows:
        assert row.limen > 0
        assert (row.other, row.ratio, row.target) == (None, None, None)
        assert "ARGS=policies" in row.note
    assert not place.exists()
