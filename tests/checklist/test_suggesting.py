"""Which application is meant, and what is said where it cannot be looked at."""

import re
import sys
from pathlib import Path

import pytest

from limen.checklist.catalogue import RULES
from limen.checklist.choosing import UnknownRule, chosen, rule_of
from limen.checklist.facts import Broken
from limen.checklist.suggesting import NoModule, advice, applications_in, applications_of, spelled

MAKES = "from fastapi import FastAPI\napp = FastAPI()\n"
FACTORY = "from fastapi import FastAPI\ndef create_app():\n    app = FastAPI()\n    return app\n"


def write(folder: Path, **files: str) -> Path:
    """Write files by their names, in which ``__`` stands for a folder."""
    for name, text in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("app.main:app", "app.main:app"),
        ("app/main.py", "app.main:app"),
        ("./app/main.py:api", "app.main:api"),
        ("app/__init__.py", "app:app"),
        ("app.main", "app.main:app"),
        ("app.made", "app.made:create_app"),
        ("app/made.py", "app.made:create_app"),
        ("main.py", "main:app"),
    ],
)
def test_a_path_or_a_module_is_as_good_as_a_name(tmp_path: Path, written: str, meant: str) -> None:
    """What shells complete names an application as well; the only one of a file needs no name."""
    assert spelled(written, write(tmp_path, app__main=MAKES, app__made=FACTORY)) == meant


def test_a_path_from_the_root_is_understood(tmp_path: Path) -> None:
    """A path that lies below the folder is as good as one from there."""
    write(tmp_path, app__made=FACTORY)
    assert spelled(f"{tmp_path}/app/made.py", tmp_path) == "app.made:create_app"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("../shop/main.py:app", "cd ../shop && limen check main.py"),
        ("/srv/shop/main.py", "cd /srv/shop && limen check main.py"),
        (":app", "Write MODULE:NAME"),
        ("app main:app", "Write MODULE:NAME"),
        ("app..main:app", "Write MODULE:NAME"),
        ("--app:app", "Write MODULE:NAME"),
    ],
    ids=["a folder above", "a folder elsewhere", "no module", "a blank", "a dot more", "an option"],
)
def test_what_names_no_module_is_told_so(tmp_path: Path, written: str, said: str) -> None:
    """Nothing is imported by a name that cannot be one."""
    with pytest.raises(NoModule, match=re.escape(said)):
        spelled(written, tmp_path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (MAKES, ["app"]),
        ("import fastapi\napi: fastapi.FastAPI = fastapi.FastAPI()\n", ["api"]),
        (FACTORY, ["create_app"]),
        (FACTORY + "app = create_app()\n", ["create_app", "app"]),
        ("from a import make\ndef get() -> 'FastAPI':\n    return make()\n", ["get"]),
        ("from starlette.applications import Starlette\napp = CORS(Starlette(), x=1)\n", ["app"]),
        ("from a import create_app\napp = create_app()\n", ["app"]),
        ("from a import FastAPI, server\napp = server.app\n", ["app"]),
        ("import fastapi\nclass Own(fastapi.FastAPI): ...\nshop = Own()\n", ["shop"]),
        ("from fastapi import FastAPI as F\nshop = F()\n", ["shop"]),
        ("if x:\n    shop = FastAPI()\nelse:\n    shop = FastAPI(debug=True)\n", ["shop"]),
        ("from a import OwnFastAPI\nshop = OwnFastAPI()\n", ["shop"]),
        ("from fastapi_users import FastAPIUsers\nshop = FastAPIUsers()\n", []),
        ("import typer\napp = typer.Typer()\n", []),
        ("from a import create_engine\napp = create_engine()\n", []),
        ("async def create_app():\n    return FastAPI()\n", []),
        ("def create_app(settings):\n    return FastAPI()\n", []),
        ("class A:\n    app = FastAPI()\n", []),
        ("app = FastAPI(\n", []),
        ("app = 3  # no FastAPI\n", []),
    ],
    ids=[
        *(
            "made",
            "annotated",
            "factory",
            "both",
            "declared",
            "wrapped",
            "by a function of another file",
            "an attribute",
        ),
        *("a class of its own", "renamed", "on a condition", "a class of others", "fastapi-users", "a command line"),
        *("an engine", "to be awaited", "with an argument", "in a class", "torn", "no"),
    ],
)
def test_applications_are_read_from_a_file(tmp_path: Path, text: str, names: list[str]) -> None:
    """Names that hold an application, and functions without arguments that make one; nothing is run."""
    (tmp_path / "a.py").write_text(text)
    assert [name for name, _ in applications_of(tmp_path / "a.py")] == names


def test_the_likeliest_application_comes_first(tmp_path: Path) -> None:
    """Near files and usual names come first; environments, tests, hidden folders and factories are left out."""
    write(tmp_path, api__main=MAKES, zebra=MAKES, main=MAKES, app__factory=FACTORY)
    write(tmp_path, tests__conftest=MAKES, venv__lib__x=MAKES, own_env__x=MAKES)
    (tmp_path / "own_env" / "pyvenv.cfg").write_text("")
    assert applications_in(tmp_path) == ("main:app", "zebra:app", "api.main:app")


def test_a_function_is_meant_where_there_is_no_application(tmp_path: Path) -> None:
    """What makes the application is offered, and not beside what it makes."""
    assert applications_in(write(tmp_path, app__factory=FACTORY)) == ("app.factory:create_app",)
    write(tmp_path, asgi="from app.factory import create_app\napp = create_app()\n")
    assert applications_in(tmp_path) == ("asgi:app",)


def test_what_lies_in_src_is_named_without_it(tmp_path: Path) -> None:
    """A package in ``src`` is imported by its own name, unless its code names ``src`` or that is a package."""
    write(tmp_path, src__shop__main=MAKES)
    assert applications_in(tmp_path) == ("shop.main:app",)
    assert spelled("src/shop/main.py", tmp_path) == spelled("shop.main", tmp_path) == "shop.main:app"
    write(tmp_path, src__shop__main="from src.shop import x\n" + MAKES)
    assert applications_in(tmp_path) == ("src.shop.main:app",)
    write(tmp_path, src__shop__main=MAKES)
    (tmp_path / "src" / "__init__.py").write_text("")
    assert applications_in(tmp_path) == ("src.shop.main:app",)


def test_a_file_that_cannot_be_imported_by_a_name_is_not_offered(tmp_path: Path) -> None:
    """Nobody is told to check ``own-app.main:app``."""
    assert applications_in(write(tmp_path, **{"own-app__main": MAKES})) == ()


def test_looking_for_applications_has_an_end(tmp_path: Path) -> None:
    """A folder with more files than anybody looks through does not hold the command up."""
    for number in range(450):
        (tmp_path / f"a{number:03d}.py").write_text("")
    write(tmp_path, zebra=MAKES)
    assert applications_in(tmp_path) == ()


def missing(name: str) -> Broken:
    """Return what an import says of a module that is not there."""
    return Broken(f"ModuleNotFoundError: No module named '{name}'")


@pytest.mark.parametrize(
    ("target", "broken", "said"),
    [
        ("shop.main:app", missing("shop"), "cd backend && limen check shop.main:app"),
        ("backend.shop.main:app", missing("shop"), "cd backend && limen check shop.main:app"),
        ("app.main:app", missing("app"), "limen check backend.shop.main:app"),
        ("main:app", missing("here"), "cd .. && limen check here.main:app"),
        ("main:app", missing("sqlmodel.ext"), f"{sys.executable} has no sqlmodel. Install limen beside"),
        ("backend.shop.main:create", Broken("NotFound: …"), "limen check backend.shop.main:app"),
        ("backend.shop.main:x", Broken("… and not a FastAPI or Starlette application"), "backend.shop.main:app"),
        ("main:app", Broken("the import took longer than 3 s"), "--timeout"),
        ("main:app", Broken("main:app has no route: nothing was checked"), "create_app"),
        (
            "main:app",
            Broken("TypeError: create_app() missing 1 required positional argument: 's'"),
            "without arguments",
        ),
        ("main:app", Broken("NoNetwork: limen check imports without a network"), "lifespan"),
        ("main:app", Broken("ValidationError: for Settings: x: Field required"), "set them for the check"),
        ("main:app", Broken("its routes cannot be read: KeyError: 'x'"), "limen fails on it"),
        ("main:app", Broken("ZeroDivisionError: division by zero"), "python -c 'import main'"),
    ],
    ids=[
        "a folder below",
        "imported from a folder below",
        "elsewhere",
        "a folder above",
        "another environment",
        "another name",
        "no application",
        "slow",
        "no route",
        "an argument",
        "network",
        "settings",
        "limen's fault",
        "its own error",
    ],
)
def test_what_cannot_be_looked_at_is_told_what_to_do(tmp_path: Path, target: str, broken: Broken, said: str) -> None:
    """Each reason comes with the next command, or the next thing to change."""
    here = tmp_path / "here"
    write(here, backend__shop__main=MAKES, src__lib__main=FACTORY)
    assert said in advice(target, broken, here)


def test_rules_are_chosen_by_their_ids() -> None:
    """All are asked unless some are named; several go into one text, and capitals do not matter."""
    everything = {each.id for each in RULES}
    assert chosen([], []) == everything
    assert chosen(["lc004,LC101", "LC001"], []) == {"LC001", "LC004", "LC101"}
    assert chosen([], ["LC013, LC014"]) == everything - {"LC013", "LC014"}
    assert chosen(["LC001,LC004"], ["LC001"]) == {"LC004"}


def test_a_rule_that_is_none_is_named_with_its_neighbours() -> None:
    """A slip does not switch a rule off in silence."""
    assert rule_of(" lc004 ").id == "LC004"
    with pytest.raises(UnknownRule, match=r"There is no rule 'LC04'\. Did you mean LC004\?"):
        chosen(["LC04"], [])
    with pytest.raises(UnknownRule, match="There is no rule 'E501'"):
        chosen([], ["E501"])
    with pytest.raises(UnknownRule, match="No rule is left"):
        chosen(["LC001"], ["LC001"])
