"""Routes that are read in two processes: what is known of them is the same, whatever becomes of the second."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from limen.checklist.routes.halves import _halved

SCRIPT = """
import os, signal, sys, threading, time

from fastapi import APIRouter, Cookie, Depends, FastAPI, HTTPException
from starlette.responses import Response

from limen.checklist.routes import halves, reading

assert halves._is_alone()
halves._has_room = lambda: True
forks = []
os.register_at_fork(before=lambda: forks.append(1))
first = os.getpid()


known: dict[str, str] = {}


def who(session_token: str = Cookie("")) -> str:
    if session_token not in known:
        raise HTTPException(401)
    return session_token


def made(number):
    router = APIRouter(prefix=f"/{number}", dependencies=[Depends(who)] if number % 2 else [])

    @router.post("/{thing}")
    def change(thing: int, me: str = Depends(who)) -> dict[str, str]:
        return {}

    @router.get("/")
    async def read(response: Response) -> list[int]:
        response.set_cookie("session_token", "x", samesite="none" if number % 3 else "lax")
        return []

    return router


app = FastAPI()
for number in range(12):
    app.include_router(made(number))


def seen(fewest):
    halves.FEWEST = fewest
    forks.clear()
    return reading.read_application(app, "app"), len(forks)


whole, none = seen(10_000)
assert none == 0 and len(whole.routes) >= 24, (none, whole)
assert {each.standing for each in whole.routes} >= {"open", "guarded"}, {each.why for each in whole.routes}


def as_it_is(): ...


def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def ends():
    os._exit(0)


def fails():
    raise RuntimeError("in the half")


def exits():
    sys.exit(3)


def writes_little():
    reading.Some = lambda routes, cookies: halves.Some(routes[:1], cookies)


def crashes():
    import ctypes
    ctypes.string_at(0)


CASES = [as_it_is, is_killed, ends, fails, exits, writes_little, crashes]
real = reading._read
for case in CASES:
    def read(each, *rest, case=case):
        if os.getpid() != first:
            case()
        return real(each, *rest)

    reading._read = read
    assert seen(2) == (whole, 1), case
reading._read = real
halves._has_room = lambda: False
assert seen(2) == (whole, 0), "others are at work"
halves._has_room = lambda: True
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
assert seen(2) == (whole, 1), "nobody waits"
signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def refused():
    raise OSError("no more processes")


fork, os.fork = os.fork, refused
assert seen(2)[0] == whole, "no more processes"
os.fork = fork


def fails_there(*_):
    raise ValueError("it cannot be read")


reading._read = fails_there
try:
    seen(2)
except ValueError as error:
    assert str(error) == "it cannot be read"
else:
    raise AssertionError("it is told as read")
reading._read = real
try:
    os.waitpid(-1, 0)
except ChildProcessError:
    pass
else:
    raise AssertionError("a half was left behind")
reading._file_of = lambda each: f"/shop/{each.path.count('{')}/routes.py"
assert seen(2) == (whole, 1), "the routes of a folder, which stand between others"
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
assert seen(2) == (whole, 0), "with a thread"
print("all the same", len(CASES))
"""


def test_two_processes_read_what_one_reads(tmp_path: Path) -> None:
    """The same facts in the same order, also where the second ends early, in silence or badly; errors are raised."""
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    ended = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "all the same 7\n"


@pytest.mark.parametrize(
    ("files", "first"),
    [
        (["/a/x.py", "/b/x.py", "/a/y.py", "/b/y.py"], [True, False, True, False]),
        (["/a/x.py", "/a/y.py", "/a/x.py", "/a/y.py"], [True, False, True, False]),
        (["/a/x.py"] * 4, [True, True, False, False]),
        (["/a/x.py"] * 9 + ["/b/y.py"], [True] * 5 + [False] * 5),
    ],
)
def test_halves_are_made_of_folders_or_else_of_files(files: list[str], first: list[bool]) -> None:
    """Routes of a folder are read by one process; where one folder has nearly all, those of a file; or else half."""
    assert _halved(files) == first
