"""Which files are the application's own, and that they are read while it is imported, each once."""

import os
import signal
from pathlib import Path

import pytest

from limen.checklist.checking import Report, check
from limen.checklist.facts import Application, Broken
from limen.checklist.looking import look_at
from limen.checklist.unimported import with_unimported

LIMIT = 120.0
APP = """
from starlette.applications import Starlette
from starlette.routing import Route

def a(request): ...

app = Starlette(routes=[Route("/a", a)])
"""
BAD = "import httpx\n\ndef ask(where):\n    return httpx.get(where, verify=False)\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in the folder of an application."""
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


def write(files: dict[str, str]) -> None:
    """Write some files below the current folder."""
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")


def report_of(files: dict[str, str]) -> Report:
    """Check an application of some files, of which ``own_app.py`` is the one to import."""
    write(files)
    found = check("own_app:app", timeout=LIMIT)
    assert isinstance(found, Report), found
    return found


def read_in(report: Report) -> list[str]:
    """Return the files that were read."""
    return [Path(each).relative_to(Path.cwd()).as_posix() for each in report.application.files]


def accused(report: Report) -> list[str]:
    """Return the files in which requests go out without a check of certificates."""
    return [each.place.file for each in report.findings if each.rule.id == "LC104"]


def test_a_file_is_read_while_the_application_is_imported() -> None:
    """The import waits until somebody has read a module of it that it imported before."""
    write(
        {
            "early.py": "",
            "own_app.py": (
                "import early, pathlib, time\nend = time.monotonic() + 100\n"
                "while not pathlib.Path('was_read').exists(): assert time.monotonic() < end; time.sleep(0.01)\n" + APP
            ),
        }
    )
    read: list[str] = []

    def note(file: str) -> None:
        read.append(Path(file).name)
        if file.endswith("early.py"):
            Path("was_read").touch()

    found = look_at("own_app:app", timeout=LIMIT, meanwhile=note)
    assert isinstance(found, Application), found
    assert {*read} == {"early.py", "own_app.py"}
    assert {Path(each).name for each in found.files} == {"early.py", "own_app.py"}


def test_what_is_executed_and_is_no_module_is_not_told_of() -> None:
    """A file that an application runs by itself is read on a guess, and nothing of it is told."""
    run = "exec(compile(open('run.py').read(), __import__('os').path.abspath('run.py'), 'exec'), {})\n"
    report = report_of({"run.py": BAD, "other.py": BAD, "own_app.py": run + "import other\n" + APP})
    assert read_in(report) == ["other.py", "own_app.py"]
    assert accused(report) == ["other.py"]


def test_more_files_than_a_pipe_holds_are_told_of() -> None:
    """An import that executes thousands of them neither waits for ever nor loses one of its own."""
    many = (
        "import os\nfor number in range(4000):\n"
        "    exec(compile('', os.path.join(os.getcwd(), f'{number:0200}.py'), 'exec'), {})\nimport other\n"
    )
    report = report_of({"other.py": BAD, "own_app.py": many + APP})
    assert accused(report) == ["other.py"]
    assert read_in(report) == ["other.py", "own_app.py"]


def test_an_import_that_fails_is_told_as_it_is() -> None:
    """Though files were told of before it failed."""
    write({"other.py": BAD, "own_app.py": "import other\n\n1 / 0\n"})
    found = look_at("own_app:app", timeout=LIMIT, meanwhile=lambda file: None)
    assert isinstance(found, Broken)
    assert found.reason == "ZeroDivisionError: division by zero"


def test_an_import_that_goes_to_another_folder_keeps_its_files() -> None:
    """The folder counts that it was imported from, and not the one it went to."""
    text = "import os, sys\nos.chdir('data')\nsys.path.insert(0, os.getcwd())\nimport other\n"
    files = {"own_app.py": "import first\n" + text + APP, "first.py": BAD, "data/other.py": BAD}
    assert accused(report_of(files)) == ["data/other.py", "first.py"]
    write({"own_app.py": text.replace("'data'", "'..'").replace("import other\n", "") + APP})
    assert read_in(report_of({})) == ["own_app.py"]


@pytest.mark.parametrize("end", ["time.sleep(600)", "os._exit(9)"], ids=["late", "ended"])
def test_who_left_the_group_and_holds_the_pipe_holds_up_nobody(end: str) -> None:
    """A daemon that an import starts has the descriptor; the check ends without it."""
    text = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(90)\n    os._exit(0)\n"
    text = text.replace("    os.setsid()\n", "    os.setsid()\n    open('daemon', 'w').write(str(os.getpid()))\n")
    text += "while not os.path.exists('daemon') or not open('daemon').read(): time.sleep(0.01)\n"
    write({"own_app.py": text + end + "\n"})
    # Where it took longer than that to get there, the next attempt has more.
    for seconds in (3.0, 10.0, 60.0):
        try:
            found = look_at("own_app:app", timeout=seconds, meanwhile=lambda file: None)
        finally:
            daemon = Path("daemon").read_text() if Path("daemon").exists() else ""
            if daemon:
                os.kill(int(daemon), signal.SIGKILL)
        assert isinstance(found, Broken)
        if daemon:
            return
    raise AssertionError("it never got there")


LAZY = {
    "own_app.py": "import shop.orders\n" + APP,
    "shop/__init__.py": "",
    "shop/orders.py": (
        "import typing\nif typing.TYPE_CHECKING:\n    import shop.never\n"
        "def a():\n    from shop import rates\n    from . import near\n    from .deep.low import thing\n"
        "async def b():\n    import flat, json\n    class C:\n        def d(self): from shop.gone import nothing\n"
    ),
    "shop/rates.py": BAD,
    "shop/near.py": "from shop import further\nimport httpx, nothing_of_that_name\n",
    "shop/further.py": BAD,
    "shop/never.py": BAD,
    "shop/alone.py": BAD,
    "shop/deep/__init__.py": "",
    "shop/deep/low.py": BAD,
    "flat.py": BAD + "from shop import orders\n",
}


def test_modules_that_functions_import_are_read() -> None:
    """Absolute and relative ones, and what they import themselves; not what nothing at run time imports."""
    report = report_of(LAZY)
    found = ["flat.py", "shop/deep/low.py", "shop/further.py", "shop/rates.py"]
    assert accused(report) == found
    imported = ["own_app.py", "shop/__init__.py", "shop/orders.py"]
    assert read_in(report) == sorted([*found, *imported, "shop/near.py", "shop/deep/__init__.py"])


def test_what_cannot_be_read_or_is_a_library_is_not_found(tmp_path: Path) -> None:
    """Broken files name nothing; installed packages and folders elsewhere are not the application's."""
    write(
        {
            "a.py": "def f():\n    import b, lib, c.d, site\n    from .... import e\n    from ..out import f\n",
            "b.py": "def broken(:\n",
            "site-packages/lib.py": BAD,
            "c/d.py": "\x00",
        }
    )
    (tmp_path.parent / "out.py").write_text(BAD, encoding="utf-8")
    files = [str(tmp_path / "a.py"), str(tmp_path / "gone.py")]
    found = {Path(each).name for each in with_unimported(files, tmp_path)}
    assert found == {"a.py", "gone.py", "b.py", "d.py"}
