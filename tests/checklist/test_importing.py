"""Imports that go wrong, that start something, or that leave something behind: what the one who checks is told."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from limen.checklist.facts import Application, Broken
from limen.checklist.looking import look_at
from tests.support.processes import until

LIMIT = 60.0
"""More than any of these imports takes on a machine that is ten times slower."""
ROUTE = """
from starlette.applications import Starlette
from starlette.routing import Route

def a(request): ...

app = Starlette(routes=[Route("/a", a)])
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in the folder of an application, without coverage in the processes that are killed."""
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


def look(text: str, timeout: float = LIMIT, name: str = "own_app") -> Application | Broken:
    """Look at an application that is this text."""
    Path(f"{name}.py").write_text(text, encoding="utf-8")
    return look_at(f"{name}:app", timeout=timeout)


def seen(text: str, timeout: float = LIMIT) -> Application:
    """Look at an application that can be looked at."""
    found = look(text, timeout)
    assert isinstance(found, Application), found
    assert [each.path for each in found.routes] == ["/a"]
    return found


def broken(text: str, timeout: float = LIMIT) -> tuple[str, str, int]:
    """Look at one that cannot: return the reason, and the file and the line of its own."""
    found = look(text, timeout)
    assert isinstance(found, Broken), found
    return found.reason, Path(found.place.file).name, found.place.line


def is_gone(pid: int) -> bool:
    """Tell whether a process does nothing any more."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\n\nimport sys; sys.exit('no')\n", "SystemExit: no"),
        ("\n\nraise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("\n\nname = input('name? ')\n", "EOFError"),
        ("import getpass\n\ngetpass.getpass()\n", "EOFError"),
        ("import ctypes\n\nctypes.string_at(0)\n", "was ended by SIGSEGV"),
        ("\n\n1 / 0\n", "ZeroDivisionError: division by zero"),
        ("\n\ndef broken(:\n", "SyntaxError"),
        ("\n\nimport nothing_of_that_name\n", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("import json\n\njson.loads('{')\n", "JSONDecodeError"),
        ("import argparse\n\nargparse.ArgumentParser().parse_args(); 1 / 0\n", "ZeroDivisionError"),
    ],
    ids=[
        "exits",
        "is interrupted",
        "asks",
        "asks for a password",
        "crashes",
        "fails",
        "no Python",
        "no module",
        "fails in a library",
        "parses the command line",
    ],
)
def test_the_reason_comes_with_the_line_of_the_application(text: str, reason: str) -> None:
    """What ends an import is told with the line of the application's own code, not a library's or limen's."""
    told, file, line = broken(text)
    assert reason in told
    assert (file, line) == ("own_app.py", 3)


@pytest.mark.parametrize(
    "text",
    [
        "import time\n\ntime.sleep(600)\n",
        "x = 0\n\nwhile True: x += 1\n",
        "import threading\n\nthreading.Event().wait()\n",
    ],
    ids=["sleeps", "loops", "waits"],
)
def test_an_import_that_hangs_is_ended_and_asked_where_it_stands(text: str) -> None:
    """The time limit holds for what sleeps, computes and waits, and the line at which it hung is told."""
    # Where it took longer than that to get to its line, the next attempt has more.
    file, line = "", 0
    for seconds in (2, 6, 20):
        told, file, line = broken(text, seconds)
        assert told == f"the import took longer than {seconds} s"
        if file:
            break
    assert (file, line) == ("own_app.py", 3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import os\nos._exit(9)\n", "the process that imported it ended with 9"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n", "was ended by SIGTERM"),
        ("import os\nos.kill(os.getpid(), 9)\n", "was ended by SIGKILL"),
        ("import os\nos.closerange(3, 4096)\n" + ROUTE, "had its files closed by it"),
        ("app = object()\n", "own_app:app is a object, and not a FastAPI"),
        ("class Any:\n    def __getattr__(self, name): return self\napp = Any()\n", "TypeError"),
    ],
    ids=["it dies", "a signal", "killed", "closed files", "an object", "an object that has everything"],
)
def test_an_end_without_a_line_is_told_by_its_kind(text: str, reason: str) -> None:
    """A process that is ended tells nothing itself; what is known is told."""
    assert reason in broken(text)[0]


def test_files_that_an_import_opens_after_it_closed_all_are_not_written_to() -> None:
    """A file of the application that got the number of the pipe stays as it is."""
    text = (
        "import os\nos.closerange(3, 4096)\nkept = [os.open(f'kept{n}', os.O_CREAT | os.O_RDWR) for n in range(60)]\n"
    )
    assert "closed" in broken(text + ROUTE)[0]
    assert [each.stat().st_size for each in Path.cwd().glob("kept*")] == [0] * 60


@pytest.mark.parametrize(
    "text",
    [
        (
            "import atexit, threading, time\natexit.register(time.sleep, 600)\n"
            "for _ in range(100): threading.Thread(target=time.sleep, args=(600,)).start()\n"
        ),
        "import multiprocessing as m, time\nm.get_context('fork').Process(target=time.sleep, args=(600,)).start()\n",
        (
            "import os, sys\nos.write(1, b'\\xff\\x00{\"application\": {}}\\n')\n"
            "for _ in range(64): sys.stdout.write('x' * 2**20)\n"
        ),
        "import os\nos.close(0); os.close(1); os.close(2)\n",
        "import sys\nsys.stdout = sys.stderr = None\n",
        (
            "import asyncio, signal, socket, subprocess, sys\nasyncio.run(asyncio.sleep(0))\n"
            "asyncio.new_event_loop().run_until_complete(asyncio.sleep(0))\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "socket.getaddrinfo('localhost', 80); pair = socket.socketpair(); pair[0].send(b'a')\n"
            "assert subprocess.check_output(['echo', 'a']) == b'a\\n'\nassert sys.argv[1:] == []\n"
        ),
    ],
    ids=["threads and a hook", "a process", "a long output", "closed output", "no output", "loops and programs"],
)
def test_what_an_import_does_besides_keeps_nobody_from_looking(text: str) -> None:
    """Threads, hooks, loops, output and programs of an import are neither waited for nor taken for facts."""
    seen(text + ROUTE)


@pytest.mark.parametrize("end", ["", "import time\ntime.sleep(600)\n", "1 / 0\n"], ids=["seen", "late", "broken"])
def test_what_an_import_has_started_ends_with_it(end: str) -> None:
    """Programs that were started go with the group, however the import ended."""
    begin = "import pathlib, subprocess\nstarted = subprocess.Popen(['sleep', '600'])\n"
    start = begin + "pathlib.Path('pid').write_text(str(started.pid))\n"
    for seconds in (2, 6, 20) if "time" in end else (LIMIT,):
        look(start + end + ROUTE, seconds)
        if Path("pid").exists() and Path("pid").read_text():
            break
    assert until(lambda: is_gone(int(Path("pid").read_text())))


def test_a_check_that_is_killed_leaves_no_import_behind_for_ever() -> None:
    """The process that imports has an end of its own: an alarm that the system keeps."""
    told = "import signal\nopen('left', 'w').write(str(signal.alarm(0)))\n"
    seen(told + ROUTE)
    assert 0 < int(Path("left").read_text()) <= LIMIT + 31


SERVES = """
from contextlib import asynccontextmanager
import asyncio
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

@asynccontextmanager
async def lifespan(app):
    open("started", "w").close()
    yield

def a(request): ...

app = Starlette(routes=[Route("/a", a)], lifespan=lifespan)
"""


@pytest.mark.parametrize(
    "start",
    [
        "uvicorn.run(app, port=0)",
        "uvicorn.run('own_app:app', port=0)",
        "uvicorn.Server(uvicorn.Config(app, port=0)).run()",
        "asyncio.run(uvicorn.Server(uvicorn.Config(app, port=0)).serve())",
        "from granian import Granian; Granian('own_app:app', interface='asgi', port=8899).serve()",
    ],
    ids=["run", "by name", "a server", "in a loop", "granian"],
)
def test_a_server_that_a_module_starts_is_not_started(start: str) -> None:
    """A module that serves when it is imported is imported, its lifespan does not run, and its routes are seen."""
    seen(SERVES + start)
    assert not Path("started").exists()


CALLS = {
    "socket.create_connection(('127.0.0.1', 5432))": "127.0.0.1:5432",
    "socket.getaddrinfo('db.example', 'http')": "db.example",
    "socket.gethostbyname('db.example')": "db.example",
    "socket.socket(type=socket.SOCK_DGRAM).sendto(b'a', ('127.0.0.1', 9))": "127.0.0.1:9",
    "socket.socket(type=socket.SOCK_DGRAM).sendmsg([b'a'], [], 0, ('127.0.0.1', 9))": "127.0.0.1:9",
    "socket.socket().bind(('127.0.0.1', 0))": "127.0.0.1:0",
    "socket.socket(socket.AF_UNIX).connect('/run/postgresql/.s.PGSQL.5432')": "/run/postgresql/.s.PGSQL.5432",
    "urllib.request.urlopen('http://127.0.0.1:9/')": "127.0.0.1:9",
    "httpx.get('http://127.0.0.1:9/')": "127.0.0.1:9",
    "asyncio.run(asyncpg.connect('postgresql://u:p@127.0.0.1:9/d'))": "127.0.0.1:9",
}


def test_no_connection_leaves_an_import() -> None:
    """Whichever call or library it goes by, and also where the code catches the error and goes on."""
    text = "import asyncio, json, socket, urllib.request\nimport asyncpg, httpx\nrefused = []\n"
    for call in CALLS:
        text += (
            f"try:\n    {call}\n    refused.append('')\nexcept Exception as error:\n    refused.append(str(error))\n"
        )
    seen(text + "open('refused', 'w').write(json.dumps(refused))\n" + ROUTE)
    for told, whom in zip(json.loads(Path("refused").read_text()), CALLS.values(), strict=True):
        assert f"limen check imports without a network, and this wants to reach {whom}" in told


def test_a_connection_at_import_is_told_with_its_line() -> None:
    """Who connects while being imported reads so, with whom, and the line of their own code."""
    reason, file, line = broken("import httpx\n\nhttpx.get('http://127.0.0.1:9/')\n" + ROUTE)
    assert "limen check imports without a network, and this wants to reach 127.0.0.1:9" in reason
    assert (file, line) == ("own_app.py", 3)


def test_a_driver_in_c_is_refused_as_soon_as_it_is_imported() -> None:
    """What opens connections where Python sees none has its connect taken away; the rest of the module is there."""
    Path("psycopg2.py").write_text("def connect(dsn): raise AssertionError('called')\nOther = 3\n")
    told, file, line = broken("import psycopg2\nassert psycopg2.Other == 3\npsycopg2.connect('x')\n" + ROUTE)
    assert "limen check imports without a network" in told
    assert (file, line) == ("own_app.py", 3)


ASKED = """
import os
from pathlib import Path
from pydantic import BaseModel, SecretStr
from pydantic_settings import BaseSettings
from starlette.config import Config

class Settings(BaseSettings):
    signing_key: SecretStr
    pool_size: int
    debug_sql: bool

settings = Settings()
config = Config()
assert config("SHOP_PORT", cast=int) > 0
assert config("SHOP_COLOUR")
broker = os.environ["BROKER_URL"]
key = os.getenv("PAYMENT_KEY")
if not key:
    raise RuntimeError("PAYMENT_KEY environment variable is not set")
class EnvError(ValueError): ...
def strict(name, kind):
    try:
        return kind(os.environ.get(name) or "")
    except ValueError:
        raise EnvError(f'Environment variable "{name}" invalid') from None
assert strict("RETRY_BUDGET", int) == 60
"""


def test_settings_that_are_missing_are_made_up_however_they_are_asked_for() -> None:
    """pydantic-settings, Starlette's Config, os.environ and code of one's own: all that was made up is told."""
    found = seen(ASKED + ROUTE)
    assert {*found.faked} == {
        *("signing_key", "pool_size", "debug_sql"),
        *("SHOP_PORT", "SHOP_COLOUR", "BROKER_URL", "PAYMENT_KEY", "RETRY_BUDGET"),
    }


def test_settings_that_are_there_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made up for an application that has what it wants."""
    monkeypatch.setenv("BROKER_URL", "redis://broker.example")
    text = "import os\nassert os.environ['BROKER_URL'] == 'redis://broker.example'\n"
    assert seen(text + ROUTE).faked == ()


def test_what_cannot_be_made_up_is_told_with_both_reasons() -> None:
    """Where an import fails as it is and with settings made up, nobody has to guess which of the two it was."""
    reason, _, line = broken("import os\nKEY = os.environ['SHOP_KEY']\nraise RuntimeError('a key has 3 letters')\n")
    assert reason == "KeyError: 'SHOP_KEY'; and with settings made up: RuntimeError: a key has 3 letters"
    assert line == 2


@pytest.mark.parametrize(
    "text",
    [
        "raise RuntimeError('cannot use ' + os.environ['SHOP_KEY'])",
        "print('key:', os.environ['SHOP_KEY']); os._exit(3)",
        "import sqlalchemy; sqlalchemy.create_engine('x://u:' + os.environ['SHOP_KEY'] + '@h/d')",
        "raise RuntimeError('postgresql://me:an-own-one-in-code@db.example/shop is down')",
        "from pydantic import BaseModel\nclass S(BaseModel):\n    n: int\nS(n=os.environ['SHOP_KEY'])",
        "raise RuntimeError(open('.env').read())",
        "1 / int(os.environ['SHOP_KEY'])",
    ],
    ids=["an error", "printed", "an address", "an address in code", "pydantic", "a file", "a number"],
)
def test_no_secret_of_the_environment_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Errors and output quote settings; their values are not in what is told, neither in reasons nor in the rest."""
    secrets = ("s3cr3t-of-the-environment", "an-own-one-in-code", "one-of-the-file-0815")
    monkeypatch.setenv("SHOP_KEY", secrets[0])
    Path(".env").write_text(f"OTHER_SECRET='{secrets[2]}'\nexport SHORT=a\n")
    found = look(f"import os\n{text}\n")
    assert isinstance(found, Broken)
    told = str(found)
    assert not [each for each in secrets if each in told], told
    assert "own_app.py" in told or "ended with 3" in told


@pytest.mark.parametrize(
    "told",
    [
        "u.password",
        "unquote(u.password)",
        "u.netloc",
        "repr(os.environ['SHOP_DSN'])",
        "json.dumps({'a': os.environ['SHOP_KEY']})",
        "repr(os.environ['SHOP_KEY'])",
        "'host=db password=' + unquote(u.password)",
        "f'{u.username}:{u.password}@{u.hostname}'",
        "f'//{u.netloc}/x'",
    ],
)
def test_no_part_of_a_secret_is_told(monkeypatch: pytest.MonkeyPatch, told: str) -> None:
    """A password that is cut out of an address, and a secret as Python or JSON write it, are secrets as well."""
    monkeypatch.setenv("SHOP_DSN", "postgresql://me:hunter2%2Fvery@db.example:5432/shop?x=1")
    monkeypatch.setenv("SHOP_KEY", "it's \\a\"quoted one")
    text = f"u = urlsplit(os.environ['SHOP_DSN'])\nprint({told})\nraise RuntimeError({told})\n"
    found = look("import json, os\nfrom urllib.parse import unquote, urlsplit\n" + text)
    assert isinstance(found, Broken)
    assert "RuntimeError" in found.reason
    for each in ("hunter2", "quoted one"):
        assert each not in found.reason
        assert each not in found.said


def test_a_folder_that_is_called_like_a_library_of_limen_is_in_nobody_s_way() -> None:
    """The application's folder is on the path for what it imports, and not for what limen imports."""
    for name in ("msgspec", "limen", "starlette_extras"):
        Path(f"{name}.py").write_text("raise AssertionError('not this one')\n")
    seen(ROUTE)


def test_the_command_ends_with_2_and_says_where() -> None:
    """The whole command: a reason, a line, no traceback, no secret."""
    Path("own_app.py").write_text("import os\n\nopen('/nowhere/' + os.environ['SHOP_KEY'])\n")
    ended: Any = subprocess.run(
        [sys.executable, "-m", "limen.cli", "check", "own_app:app"],
        env={**os.environ, "SHOP_KEY": "s3cr3t-of-the-environment"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert re.search(r"FileNotFoundError: .*\$SHOP_KEY.*own_app\.py:3", " ".join(ended.stderr.split()))
    assert "Traceback" not in ended.stderr
    assert "s3cr3t" not in ended.stderr + ended.stdout
