"""The pages tell the truth: tests that they name exist, links lead somewhere, names are those of the code."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import limen.core.errors as catalogue
import limen.fastapi
import limen.starlette
from limen import Limen
from limen.cli.main import application
from limen.core.errors import LimenError
from limen.core.events import EventName
from limen.core.mails import MailKind
from limen.crypto import strict_json
from limen.settings import Settings
from limen.settings.sso import name_and_key
from tests.docs.markdown import ROOT, anchors, blocks, code, links, pages, prose, rows

PAGES = [path for path in pages() if path.is_file()]
SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ERRORS = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
HTTP = (ROOT / "docs" / "reference" / "http.md").read_text(encoding="utf-8")

# The requirements that hold for this version: nothing may fall off the page.
REQUIRED = [
    *range(1, 12), *range(13, 29), *range(40, 80), *range(81, 90),
    *range(141, 145), *range(90, 98), 100, 121, 122, 123, *range(126, 140), 145, 146, 147,
    *range(149, 176),
]  # fmt: skip
NODE = re.compile(r"tests/[\w/]+\.py(?:::\w+)*")
PACKAGES_INDEX = re.compile(r"pypi|pythonhosted|npmjs|ghcr|docker\.io", re.IGNORECASE)
MACHINE = re.compile(r"(?<![\w.~])/(?:work|root|tmp|home|Users|usr|var/folders)/\w+|[A-Z]:\\")


def page_id(path: Path) -> str:
    """Return how a test calls a page."""
    return path.relative_to(ROOT).as_posix()


def named_tests(page: str) -> set[str]:
    """Return every test that a page names."""
    return {name for name in NODE.findall(prose(page)) if "::" in name}


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """What pytest collects from every module that a page names, without the parameters."""
    named = {name for page in PAGES for name in named_tests(page.read_text(encoding="utf-8"))}
    files = sorted({name.partition("::")[0] for name in named})
    present = [name for name in files if (ROOT / name).is_file()]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", "-p", "no:cov", *present]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, "\n".join([line for line in lines if "::" not in line][-40:])
    return {line.partition("[")[0] for line in lines if "::" in line}


@pytest.mark.timeout(600)  # most of the suite is imported for it, in another process
@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_named_tests_exist(path: Path, collected: set[str]) -> None:
    """Whoever follows a page to a test finds it."""
    assert not named_tests(path.read_text(encoding="utf-8")) - collected


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_named_test_files_exist(path: Path) -> None:
    """A test module that a page names without a test is there as well."""
    named = {name.partition("::")[0] for name in NODE.findall(path.read_text(encoding="utf-8"))}
    assert not [name for name in named if not (ROOT / name).is_file()]


def test_each_requirement_has_its_row() -> None:
    """Each requirement of this version stands in the table once, in its order, with its four cells and a test."""
    found = rows(SECURITY, "id")
    assert [cells[0] for cells in found] == [f"R{number:03d}" for number in REQUIRED]
    assert len(REQUIRED) == 136
    for cells in found:
        assert len(cells) == 4
        assert all(cells)
        assert named_tests(cells[3]), cells[0]


@pytest.mark.parametrize(
    "words", ["within the leeway", "A late retry", "A delayed grandparent", "has the refresh secret", "rate limit"]
)
def test_what_is_left_open_is_written_down(words: str) -> None:
    """The page names what an attacker can still do by design."""
    assert words in SECURITY.split("## What limen does not protect against")[1]


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path: Path) -> None:
    """Every link to a file or a heading of the project has its target."""
    for target in links(path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_no_path_of_a_machine(path: Path) -> None:
    """No page names a place that only one machine has, or an index of packages."""
    text = path.read_text(encoding="utf-8")
    assert not MACHINE.findall(text)
    assert not PACKAGES_INDEX.findall(text)


def test_paths_of_machines_would_be_found() -> None:
    """The search sees home folders and temporary ones, and leaves routes and relative paths alone."""
    assert len(MACHINE.findall("in /home/ann/limen and /tmp/x")) == 2
    assert not MACHINE.findall("GET /auth/login, var/demo.env, ../limen, sqlite:////absolute/path, tests/web/x.py")


# --- settings, errors, events, commands


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_named_settings_exist(path: Path) -> None:
    """Each LIMEN_ name on a page is a setting."""
    named = set(re.findall(r"\bLIMEN_[A-Z][A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
    # The settings of a provider of single sign-on bear its name: LIMEN_SSO_<NAME>_ISSUER.
    named = {name for name in named if name_and_key(name) is None and name != "LIMEN_SSO"}
    # What names a file of settings, or an application, is none; the last ones are for the tests themselves.
    others = {"LIMEN_APP", "LIMEN_ENV_FILE", "LIMEN_TEST_POSTGRES_URL", "LIMEN_TEST_VALKEY_PROGRAM"}
    known = {*Settings.environment_names(), *others}
    assert named <= known


def errors_in_code() -> dict[str, tuple[str, int]]:
    """Return every class of the catalogue that is answered, with its code and status."""
    classes = [each for each in vars(catalogue).values() if inspect.isclass(each) and issubclass(each, LimenError)]
    return {each.__name__: (each.code, each.status) for each in classes}


def test_errors_in_the_manual_are_those_of_the_code() -> None:
    """Each class of the catalogue stands in the manual under its code and status, and the manual invents none."""
    told: dict[str, tuple[str, int]] = {}
    for cells in rows(ERRORS, "code"):
        for name in code(cells[2]):
            assert name not in told
            told[name] = (code(cells[0])[0], int(cells[1]))
    assert told == errors_in_code()


def test_exported_errors_are_told() -> None:
    """The manual's list of what can be imported from limen is what can be."""
    sentence = next(line for line in ERRORS.split("\n\n") if "importable from `limen`" in line)
    exported = {name for name in errors_in_code() if hasattr(limen, name)}
    assert exported == {name for name in code(sentence) if name[0].isupper()}


def field_codes() -> set[str]:
    """Return every code that the sources give to a single field, as a text or by the class of its error."""
    used = {name for _, name, _ in strict_json._FAULTS}
    for path in (ROOT / "src" / "limen").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"InputFault", "_fault"}:
                given = node.args[1]
                if isinstance(given, ast.Constant):
                    used.add(str(given.value))
                elif isinstance(given, ast.Attribute) and isinstance(given.value, ast.Name):
                    used.add(getattr(catalogue, given.value.id).code)
    return used


def test_codes_of_fields_are_those_of_the_code() -> None:
    """The manual lists each code that a single field can have."""
    section = ERRORS.split("## Codes of single fields")[1].split("\n## ")[0]
    used = field_codes()
    assert {"missing", "wrong_type", "too_long", "email", "unknown_role", "password_too_short"} <= used
    told = set(code(section)) - {"code"}
    answers = {"password_too_common", "password_contains_name"}
    assert told == used - answers


def codes_named(text: str) -> set[str]:
    """Return what looks like a code of an error beside a status."""
    return set(re.findall(r"\b(?:4\d\d|503) `([a-z_]+)`", text))


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_named_codes_exist(path: Path) -> None:
    """A code that a page names with its status is one of the catalogue's."""
    known = {code for code, _ in errors_in_code().values()}
    assert not codes_named(path.read_text(encoding="utf-8")) - known


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_named_events_exist(path: Path) -> None:
    """What a page calls an event is one."""
    told = re.findall(r"`((?:refresh|login|store|session|sessions|password|account)_[a-z_]+)`", path.read_text("utf-8"))
    others = {code for code, _ in errors_in_code().values()} | {"session_epoch", "refresh_token", "refresh_expires_in"}
    columns, mails = {"password_hash"}, {kind.value for kind in MailKind}
    assert not set(told) - {event.value for event in EventName} - others - columns - mails


def commands() -> dict[str, set[str]]:
    """Return the commands of the program, each with its options."""
    found: dict[str, set[str]] = {}

    def walk(command: object, name: str) -> None:
        children = getattr(command, "commands", None)
        if children is None:
            found[name] = {option for parameter in command.params for option in parameter.opts}  # type: ignore[attr-defined]
            return
        for child in children.values():
            walk(child, f"{name} {child.name}".strip())

    walk(get_command(application()), "")
    return found


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_named_commands_exist(path: Path) -> None:
    """Each `limen …` on a page is a command with the options that are shown."""
    known = commands()
    groups = {name.split()[0] for name in known if " " in name}
    text = path.read_text(encoding="utf-8")
    shown = code(prose(text))
    for block in blocks(text):
        shown += block.text.split("\n") if block.language in {"", "sh"} else []
    for line in shown:
        for written, rest in re.findall(r"(?:^|/|\| |; )limen ([a-z][a-z|-]*(?: [a-z][a-z|-]*)?)([^;|]*)", line):
            first, _, second = written.partition(" ")
            names = [f"{first} {one}" for one in second.split("|")] if first in groups and second else first.split("|")
            for name in names:
                assert name in known or name in groups, line
                options = set(re.findall(r"(?<=\s)--[a-z-]+", f" {rest}"))
                assert not options - known.get(name, set()) - {"--help"}, line


def test_every_command_is_told() -> None:
    """The page «What limen has» or the change log names each command."""
    told = (ROOT / "docs" / "coverage.md").read_text("utf-8") + (ROOT / "CHANGELOG.md").read_text("utf-8")
    for name in commands():
        assert name.split()[-1] in told, name


# --- the interface


def test_each_own_route_is_in_the_manual() -> None:
    """The manual's table of requests names the routes of the code with their methods, no more and no less."""
    from limen.web.routes.table import paths_of_schema

    described = paths_of_schema("/auth", registration_open=True, health=True)
    known = {f"{method.upper()} {path}" for path, operations in described.items() for method in operations}
    request = re.compile(r"(?:GET|POST|PUT|PATCH|DELETE) /[\w./{}-]+")
    told = {found for cells in rows(HTTP, "request") for found in request.findall(cells[0])}
    assert told - {"GET /docs", "GET /openapi.json"} == known


def test_public_names_are_told() -> None:
    """Each thing that an application imports stands in the README, the house or the page about how it works."""
    told = "".join((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/how-it-works.md", "CHANGELOG.md"))
    for door in (limen.fastapi, limen.starlette):
        for name in door.__all__:
            assert name in told, name
    for verb in ("protect", "public_mount", "public_docs", "mount_rule", "from_env"):
        assert hasattr(Limen, verb)
        assert verb in told


def test_every_decision_is_listed() -> None:
    """The list of decisions names each page, with the title that it has; each has its three parts."""
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    for path in sorted(folder.glob("[0-9]*.md")):
        text = path.read_text(encoding="utf-8")
        number, _, title = text.splitlines()[0].removeprefix("# ").partition(": ")
        assert path.name.startswith(number)
        assert f"| [{number}]({path.name}) | {title} |" in listed
        assert re.findall(r"^## (\w+)$", text, re.MULTILINE)[:3] == ["Context", "Decision", "Consequences"], path.name


@pytest.mark.parametrize("heading", ["Reporting a vulnerability", "Supported versions", "Dependencies"])
def test_the_security_policy_is_there(heading: str) -> None:
    """SECURITY.md says how to report, which versions get fixes, and how to audit what limen runs on."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    assert len(section.split()) > 30
    if heading == "Dependencies":
        assert "pip-audit --require-hashes" in section
        assert "cyclonedx" in section


def test_every_page_is_listed() -> None:
    """The list of the documentation leads to each page of it."""
    folder = ROOT / "docs"
    listed = {(folder / target).resolve() for target in links((folder / "README.md").read_text(encoding="utf-8"))}
    there = {path for path in folder.rglob("*.md") if path.parent.name != "decisions"}
    assert not there - listed - {folder / "README.md"}
