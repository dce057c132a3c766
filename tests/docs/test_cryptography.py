"""The inventory of cryptography, and the threat model, are those of the code."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from limen.authn.grants import GRANTS, Grant
from limen.crypto.keys import Algorithm
from limen.settings import Settings
from limen.wiring.running import POLL_SECONDS
from tests.docs.markdown import ROOT, code, rows

SOURCE = ROOT / "src" / "limen"
INVENTORY = (ROOT / "docs" / "cryptography.md").read_text(encoding="utf-8")
THREATS = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
LIBRARIES = {"argon2", "bcrypt", "cryptography", "hashlib", "hmac", "joserfc", "secrets", "ssl"}
# Names of classes and functions within a module are not told one by one.
TOLD = re.compile(r"^(cryptography(?:\.[a-z][a-z0-9]*)*|hashlib\.\w+|[a-z0-9]+)")
LABEL = re.compile(rb"limen/[a-z/-]+/\d+\x00?")
SECTIONS = (
    "Who is expected",
    "Ways in, and their strength",
    "How long things live",
    "How old what is believed may be",
    "Who may do what",
    "Rate limits",
    "Secrets, and how they are replaced",
    "What limen calls",
    "What is written down",
)


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Yield every module that is installed, but for the tools of tests."""
    for path in sorted(SOURCE.rglob("*.py")):
        if not path.is_relative_to(SOURCE / "testing"):
            yield path.relative_to(SOURCE), ast.parse(path.read_text(encoding="utf-8"))


def imported(node: ast.AST) -> list[str]:
    """Return what a node takes from a library that computes on secrets."""
    if isinstance(node, ast.Import):
        found = [each.name for each in node.names if each.name != "hashlib"]
    elif isinstance(node, ast.ImportFrom):
        found = [f"{node.module}.{each.name}" for each in node.names]
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "hashlib":
        found = [f"hashlib.{node.attr}"]
    else:
        found = []
    return [name for name in found if name.partition(".")[0] in LIBRARIES]


def used() -> dict[str, set[str]]:
    """Return each import of the code, as the page names it, and the rooms that it is in."""
    places: dict[str, set[str]] = defaultdict(set)
    for path, tree in modules():
        for node in ast.walk(tree):
            for name in imported(node):
                match = TOLD.match(name)
                assert match is not None, name
                places[shortened(match[1], name)].add(path.parts[0])
    return places


def shortened(told: str, name: str) -> str:
    """Return the name of the module, where what was imported is one of its names."""
    if told in {"cryptography.x509.oid", "cryptography.x509.verification"}:
        return "cryptography.x509"
    known = {row[0].strip("`") for row in rows(INVENTORY, "import")}
    return (
        told
        if told in known or "." not in name
        else max((each for each in known if name.startswith(each)), default=told, key=len)
    )


def test_each_import_is_in_the_inventory() -> None:
    """What the code imports to compute on secrets is on the page with the rooms it is in, and the page has no other."""
    told = {code(name)[0]: where for name, _, where in rows(INVENTORY, "import")}
    found = used()
    assert set(found) == set(told)
    for name, places in found.items():
        if told[name] != "everywhere":
            assert places <= set(code(told[name])), (name, places)


def test_each_label_is_in_the_inventory() -> None:
    """Each label under which a key is derived, or a hash made, is on the page, and the page has no other."""
    told = {code(row[0])[0] for row in rows(INVENTORY, "label")} - {"limen/seal/…/1"}
    found = {
        node.value.rstrip(b"\0").decode()
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and LABEL.fullmatch(node.value)
    }
    assert found == told


def test_each_purpose_of_sealing_is_in_the_inventory() -> None:
    """Whatever is sealed is named with its purpose."""
    purposes = {
        node.args[1].value
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Sealer"
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
    } | keywords("Sealer", "purpose")
    assert purposes
    assert {purpose for purpose in purposes if f"`{purpose}`" not in INVENTORY} == set()


def keywords(function: str, name: str) -> set[object]:
    """Return what is handed to a function under a name, where it is written out."""
    return {
        keyword.value.value
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
        for keyword in node.keywords
        if keyword.arg == name and isinstance(keyword.value, ast.Constant)
    }


@pytest.mark.parametrize("algorithm", Algorithm.__args__)  # type: ignore[attr-defined]
def test_each_algorithm_of_tokens_is_in_the_inventory(algorithm: str) -> None:
    """The algorithms that sign tokens are named."""
    assert algorithm in INVENTORY


def test_the_way_to_other_algorithms_is_told() -> None:
    """How one algorithm follows another is there, and what comes after quantum computers."""
    for words in ("ML-DSA", "X25519MLKEM768", "How one algorithm follows another"):
        assert words in INVENTORY


@pytest.mark.parametrize("section", SECTIONS)
def test_the_threat_model_has_its_sections(section: str) -> None:
    """Each part that a reader must find is there, and says something."""
    part = THREATS.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    assert len(part.split()) > 25


def test_each_way_in_is_told() -> None:
    """Every grant of the one door is in the table, and whether it opens a session is what the code says."""
    told = {code(row[0])[0]: row[2].startswith("yes") for row in rows(THREATS, "grant")}
    assert told == {grant.value: GRANTS[grant].opens_session for grant in Grant}


def test_lifetimes_are_those_of_the_settings() -> None:
    """Each lifetime has the default that the code has, and none is missing."""
    told = {code(row[0])[0]: int(row[1]) for row in rows(THREATS, "setting")}
    known = {
        f"LIMEN_{name.upper()}": field.default
        for name, field in Settings.model_fields.items()
        if name.endswith("_ttl") or name == "refresh_leeway"
    }
    assert told == known


def test_the_bound_of_revocations_is_kept() -> None:
    """Two seconds are promised, and a process asks once a second."""
    assert "| 2 s | refused |" in THREATS
    assert POLL_SECONDS * 2 <= 2
