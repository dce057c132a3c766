"""The process that looks is started before it is known at what: it does nothing until somebody orders it."""

import os
import subprocess
import sys
from pathlib import Path

CHILD = [sys.executable, "-P", "-m", "limen.checklist.child"]


def test_without_an_order_it_ends_and_tells_nothing() -> None:
    """Where whoever started it is gone before it says what to look at, it ends by itself."""
    reading, writing = os.pipe()
    ended = subprocess.run(
        [*CHILD, str(writing)], stdin=subprocess.DEVNULL, pass_fds=(writing,), capture_output=True, timeout=60
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert (ended.returncode, ended.stdout + ended.stderr, pipe.read()) == (0, b"", b"")


def test_wrong_usage_imports_nothing(tmp_path: Path) -> None:
    """An option that does not exist is told as ever, and the application is not imported."""
    (tmp_path / "app.py").write_text("open('imported', 'w').close()\n", encoding="utf-8")
    command = [sys.executable, "-m", "limen.cli", "check", "app:app", "--nonsense"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "--nonsense" in ended.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["app.py"]


def test_the_application_has_nothing_to_read(tmp_path: Path) -> None:
    """What reads its input at import finds its end, and not the order."""
    text = "import sys\nfrom fastapi import FastAPI\napp = FastAPI(title=repr(sys.stdin.read()))\nprint(app.title)\n"
    text += "assert app.title == repr('')\n@app.get('/a')\ndef a() -> int: return 1\n"
    (tmp_path / "app.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "limen.cli", "check", "app:app", "--format", "json"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, input="mine", timeout=60)
    assert ended.returncode == 1, ended.stdout + ended.stderr  # an open route
    assert '"/a"' in ended.stdout
