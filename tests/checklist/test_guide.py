"""The guide is true: its commands run as they are printed, and its answers are those of the command."""

import re
import shlex
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from limen.cli.main import main
from tests.docs.markdown import ROOT, blocks

GUIDE = (ROOT / "docs" / "guides" / "check.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOP = ROOT / "examples" / "endpoints" / "shop.py"

# How each command of the guide ends. What is not listed has findings, and ends with 1.
ENDS_WELL = {
    "limen check --explain LC004",
    "limen check shop:app --write-baseline check-baseline.json",
    "limen check shop:app --baseline check-baseline.json",
}
DEPENDS_ON = "me: Me) -> list[Order]"


def commands(page: str) -> list[str]:
    """Return the lines of the page that call the command."""
    lines = [line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    return [line for line in lines if line.startswith("limen check")]


def answers(page: str, first: str) -> list[str]:
    """Return the lines of the answer that begins so, without what is left out."""
    (text,) = [each.text for each in blocks(page) if each.language == "text" and each.text.startswith(first)]
    return [line for line in text.splitlines() if line not in {"", "…"}]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shop in it, in which the command is called."""
    shutil.copy(SHOP, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.timeout(600)  # a dozen processes, and a machine may be ten times slower
def test_its_commands_run_as_they_are_printed(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the page, in one folder; each ends as the page says, and none is wrong usage."""
    printed = commands(GUIDE)
    assert len(printed) >= 12
    for line in printed:
        called = shlex.split(line.partition(" > ")[0])[1:]
        assert int(main(called)) == (0 if line in ENDS_WELL else 1), (line, capsys.readouterr())
    assert {each.name for each in shop.iterdir()} >= {"check-baseline.json", "routes.lock"}


@pytest.mark.parametrize("page", [GUIDE, README], ids=["guide", "readme"])
def test_its_answer_is_that_of_the_command(shop: Path, capsys: pytest.CaptureFixture[str], page: str) -> None:
    """Each line that is shown is printed, in that order."""
    assert main(["check", "shop:app"]) == 1
    rest = capsys.readouterr().out.splitlines()
    for line in answers(page, "LC001"):
        assert line in rest
        rest = rest[rest.index(line) + 1 :]


def test_a_loosened_route_is_told_as_it_is_printed(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line about the lock is what a route that is opened gives, and it fails in CI."""
    main(["check", "shop:app", "--lock", "routes.lock"])
    text = (shop / "shop.py").read_text()
    assert DEPENDS_ON in text
    (shop / "shop.py").write_text(text.replace(DEPENDS_ON, "me: int = 0) -> list[Order]"))
    capsys.readouterr()
    locked = (shop / "routes.lock").read_text()
    assert main(["check", "shop:app", "--lock", "routes.lock", "--locked", "--only", "LC900"]) == 1
    (line,) = answers(GUIDE, "limen: loosened")
    assert line in capsys.readouterr().err.splitlines()
    assert (shop / "routes.lock").read_text() == locked
    assert main(["check", "shop:app", "--lock", "routes.lock", "--only", "LC900"]) == 0
    assert '"GET /orders": {"standing": "open"}' in (shop / "routes.lock").read_text()


def test_a_day_after_its_last_a_finding_is_back(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The comment of the page is understood as it is printed: it accepts until its day, with the reason."""
    (comment,) = re.findall(r"^# limen: accept .*$", GUIDE, re.MULTILINE)
    text = (shop / "shop.py").read_text()
    route = '@app.get("/orders/{order_id}")'
    today = datetime.now(UTC).date()
    for days, code in ((30, 0), (-30, 1)):
        said = comment.replace("2027-03-01", (today + timedelta(days)).isoformat())
        assert said != comment
        (shop / "shop.py").write_text(text.replace(route, f"{said}\n{route}"))
        assert main(["check", "shop:app", "--only", "LC004"]) == code, capsys.readouterr()
    assert "which is over" in capsys.readouterr().out


def test_the_shop_knows_nothing_of_limen() -> None:
    """The first example is somebody else's application."""
    imported = re.findall(r"^(?:from|import) (\w+)", SHOP.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(imported) == {"typing", "fastapi", "pydantic"}
