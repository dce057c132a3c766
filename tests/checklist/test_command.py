"""The command on whole applications, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from limen.checklist.catalogue import BAD_ACCEPTANCE, RULES

ENDPOINTS = Path(__file__).parents[2] / "examples" / "endpoints"
# Its one route is public by nature, so that all that is found is small.
SMALL = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/healthz')\ndef healthz() -> str: ...\n"


def run(*arguments: str, folder: Path = ENDPOINTS, environment: dict[str, str] | None = None) -> Any:
    """Run ``limen check`` in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "limen.cli", "check", *arguments],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def found(*arguments: str, folder: Path = ENDPOINTS) -> dict[str, Any]:
    """Return the report of a check."""
    told: dict[str, Any] = json.loads(run(*arguments, "--format", "json", folder=folder).stdout)
    return told


def written(folder: Path, text: str, name: str = "own_app.py") -> Path:
    """Write an application into a folder."""
    (folder / name).write_text(text)
    return folder


def test_the_bad_example_has_every_finding() -> None:
    """Each rule is found in the example that is made for it, with place, reason and remedy."""
    told = found("bad:app")
    assert {each["id"] for each in told["findings"]} == {each.id for each in RULES}
    assert told["routes"] > 15
    for each in told["findings"]:
        assert each["why"]
        assert each["fix"]
        assert each["severity"] in {"low", "medium", "high"}
        if each["route"] is not None:
            assert each["file"] == "bad.py"
            assert each["line"] > 1


def test_the_good_example_has_none() -> None:
    """The same application as it should be is clean, and ends with 0."""
    ended = run("good:app", "--format", "json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["findings"], told["open"], told["unknown"]) == (0, [], 0, 0)
    assert told["routes"] > 5


@pytest.mark.parametrize(("severity", "code"), [("low", 1), ("medium", 0), ("high", 0)])
def test_fail_on(tmp_path: Path, severity: str, code: int) -> None:
    """The exit code tells findings from the severity on that is asked for."""
    written(tmp_path, SMALL)
    assert run("own_app:app", "--fail-on", severity, folder=tmp_path).returncode == code


@pytest.mark.parametrize(
    "text",
    [
        "from starlette.applications import Starlette\napp = Starlette()\n",
        "from fastapi import FastAPI\napp = FastAPI()\n",
        """
from fastapi import FastAPI
async def life(app):
    app.add_api_route("/a", life)
    yield
app = FastAPI(lifespan=life)
""",
    ],
    ids=["none", "the framework's own pages", "made at start"],
)
def test_an_application_without_routes_is_an_error(tmp_path: Path, text: str) -> None:
    """Where nothing of the application was seen nothing was checked: that is not clean."""
    ended = run("own_app:app", folder=written(tmp_path, text))
    assert ended.returncode == 2
    assert "has no route of its own" in ended.stderr
    assert "lifespan" in ended.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nothing_of_that_name\n", "ModuleNotFoundError"),
        ("raise SystemExit('no')\n", "SystemExit: no"),
        ("app = 3\n", "not a FastAPI or Starlette application"),
        ("other = 3\n", "has no app"),
        ("def broken(:\n", "SyntaxError"),
        ("import os\nos._exit(9)\n", "ended with 9"),
    ],
    ids=["no module", "it exits", "a number", "no such name", "no Python", "it dies"],
)
def test_a_broken_import_is_exit_2_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    """An application that cannot be imported is no finding: it is told why, without a traceback."""
    ended = run("own_app:app", folder=written(tmp_path, text))
    assert ended.returncode == 2
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_import_that_hangs_is_ended(tmp_path: Path) -> None:
    """The time limit holds."""
    ended = run("own_app:app", "--timeout", "3", folder=written(tmp_path, "import time\ntime.sleep(600)\n"))
    assert ended.returncode == 2
    assert "longer than 3 s" in ended.stderr


def test_nothing_is_started_and_nobody_is_called(tmp_path: Path) -> None:
    """No lifespan runs, and a connection that an import wants to make is refused."""
    text = """
import socket
from contextlib import asynccontextmanager
from fastapi import FastAPI

refused = []
for call in (lambda: socket.create_connection(("127.0.0.1", 9)), lambda: socket.getaddrinfo("example.com", 80)):
    try:
        call()
    except OSError as error:
        refused.append(str(error))

@asynccontextmanager
async def lifespan(app):
    open("started", "w").close()
    yield

app = FastAPI(lifespan=lifespan)

who = ("127.0.0.1:9", "example.com")
if refused == [f"limen check imports without a network, and this wants to reach {each}" for each in who]:
    @app.get("/refused")
    def get(): ...
"""
    told = found("own_app:app", folder=written(tmp_path, text))
    assert "/refused" in {each["route"] for each in told["findings"]}
    assert not (tmp_path / "started").exists()


def test_missing_settings_are_made_up(tmp_path: Path) -> None:
    """An import that wants settings which CI has not is looked at all the same, and it is told what was made up."""
    text = """
import os
from fastapi import FastAPI
from pydantic_settings import BaseSettings

class Settings(BaseSettings):
    payment_key: str
    limit: int

KEY = os.environ["ORDERS_KEY"]
settings = Settings()
app = FastAPI()

@app.get("/a")
def a(): ...
"""
    told = found("own_app:app", folder=written(tmp_path, text))
    assert told["made_up_settings"] == ["ORDERS_KEY", "payment_key", "limit"]


@pytest.mark.parametrize("cover", ["", "@functools.cache", "@functools.partial"], ids=["bare", "cached", "partial"])
def test_a_factory_is_called(tmp_path: Path, cover: str) -> None:
    """A function that makes the application is as good as the application."""
    text = f"""
import functools
from fastapi import FastAPI
{cover}
def make():
    app = FastAPI()
    @app.get("/a")
    def a(): ...
    return app
"""
    assert found("own_app:make", folder=written(tmp_path, text))["routes"] == 5


def test_settings_that_refuse_what_is_made_up_get_something_else(tmp_path: Path) -> None:
    """A validator, an enumeration or a list of words is no reason not to look at an application."""
    text = """
import enum
from typing import Literal
from pydantic import SecretStr, field_validator
from pydantic_settings import BaseSettings

class Kind(enum.Enum):
    SMALL = "small"

class Settings(BaseSettings):
    database_url: str
    key: SecretStr
    stage: Literal["dev", "prod"]
    kind: Kind
    sender: str

    @field_validator("database_url")
    @classmethod
    def of_postgresql(cls, value: str) -> str:
        assert value.startswith("postgresql+")
        return value

    @field_validator("sender")
    @classmethod
    def of_somebody(cls, value: str) -> str:
        assert "@" in value and "/" not in value
        return value

settings = Settings()
"""
    told = found("own_app:app", folder=written(tmp_path, text + SMALL))
    assert told["made_up_settings"] == ["database_url", "key", "stage", "kind", "sender"]


def test_a_package_in_src_is_imported(tmp_path: Path) -> None:
    """The layout that packages have needs no installation, and no variable."""
    (tmp_path / "src" / "shop").mkdir(parents=True)
    written(tmp_path / "src" / "shop", "from shop.routes import app\n", "main.py")
    written(tmp_path / "src" / "shop", SMALL, "routes.py")
    told = found("shop.main:app", folder=tmp_path)
    assert (told["routes"], told["files"]) == (5, 2)


def test_what_an_application_prints_is_no_fact(tmp_path: Path) -> None:
    """Output of the import neither gets into the report nor breaks it."""
    text = 'print(\'{"application": {"target": "x"}}\')\n' + SMALL
    assert found("own_app:app", folder=written(tmp_path, text))["routes"] == 5


def test_a_baseline_makes_room_for_a_beginning(tmp_path: Path) -> None:
    """With today's findings written down nothing fails; a new route does."""
    text = "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/a')\ndef a(): ...\n"
    written(tmp_path, text)
    assert run("own_app:app", "--write-baseline", "b.json", folder=tmp_path).returncode == 0
    assert run("own_app:app", "--baseline", "b.json", folder=tmp_path).returncode == 0
    written(tmp_path, "# moved\n" + text + "@app.get('/b')\ndef b(): ...\n")
    ended = run("own_app:app", "--baseline", "b.json", "--format", "json", folder=tmp_path)
    assert ended.returncode == 1
    assert {each["route"] for each in json.loads(ended.stdout)["findings"]} == {"/b"}


def test_a_lock_shows_what_was_opened(tmp_path: Path) -> None:
    """The lock is written, held in CI, and tells which route was loosened."""
    guarded = """
from fastapi import Depends, FastAPI, HTTPException
def who():
    raise HTTPException(401)
app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
@app.get("/a", dependencies=[Depends(who)])
def a(): ...
"""
    written(tmp_path, guarded)
    assert "is written" in run("own_app:app", "--lock", "routes.lock", folder=tmp_path).stderr
    assert run("own_app:app", "--lock", "routes.lock", "--locked", "--fail-on", "high", folder=tmp_path).returncode == 0
    written(tmp_path, guarded.replace(", dependencies=[Depends(who)]", ""))
    ended = run("own_app:app", "--lock", "routes.lock", "--locked", folder=tmp_path)
    assert ended.returncode == 1
    assert "loosened: GET /a: who -> open" in ended.stderr
    assert "not up to date" in ended.stderr


def test_sarif_has_a_rule_and_a_place_for_each_result() -> None:
    """Every result names a rule that is described, a place, and a fingerprint that other lines do not change."""
    log = json.loads(run("bad:app", "--format", "sarif").stdout)
    (only,) = log["runs"]
    described = [each["id"] for each in only["tool"]["driver"]["rules"]]
    assert log["version"] == "2.1.0"
    assert described == [each.id for each in RULES]
    for each in only["results"]:
        assert described[each["ruleIndex"]] == each["ruleId"]
        assert each["level"] in {"note", "warning", "error"}
        assert each["partialFingerprints"]
        assert each["locations"][0]["physicalLocation"]["region"]["startLine"] >= 1


def test_markdown_and_the_table_tell_the_same() -> None:
    """Both name every rule that found something, and end or begin with the same counts."""
    markdown, table = run("bad:app", "--format", "markdown").stdout, run("bad:app").stdout
    summary = table.strip().splitlines()[-1]
    assert summary in markdown
    for each in RULES:
        assert each.id in markdown
        assert each.id in table


def test_an_acceptance_that_is_over_stands_in_the_bad_example() -> None:
    """The bad example's own acceptance is expired, which is said, and another is incomplete."""
    told = found("bad:app")
    assert any("which is over" in each["what"] for each in told["findings"])
    assert any(each["id"] == BAD_ACCEPTANCE.id for each in told["findings"])


def test_the_orders_example_and_limen_itself_are_clean() -> None:
    """What is shown as the way to do it passes its own check, and so does limen's own code, which it imports."""
    ended = run("examples.orders.main:application", "--format", "json", folder=ENDPOINTS.parents[1])
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["findings"], told["open"], told["unknown"]) == (0, [], 0, 0)
    assert told["files"] > 200


def test_the_server_by_itself_is_clean(tmp_path: Path) -> None:
    """The routes of `limen serve` are all guarded or public on purpose."""
    text = """
from limen.server.standalone import application
from limen.settings import Settings

def app():
    return application(Settings())
"""
    told = found("own_app:app", folder=written(tmp_path, text))
    assert (told["findings"], told["open"], told["unknown"]) == ([], 0, 0)
    assert told["guarded"] > 30
