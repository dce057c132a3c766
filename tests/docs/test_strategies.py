"""The pages about tokens, cookie sessions and API keys: their lines are pasted beside a running demo."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, blocks, links
from tests.server.conftest import LIMEN, Server, demo_accounts, environment, launch, log_in

GUIDES = ROOT / "docs" / "guides"
CHOOSE = (GUIDES / "which-strategy.md").read_text(encoding="utf-8")
STRATEGIES = {"api-keys", "cookie-sessions", "external-issuers", "gateways", "messages", "mutual-tls", "single-sign-on"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running demo."""
    server = launch(tmp_path_factory.mktemp("demo"), "demo")
    yield server
    server.end()


@pytest.mark.parametrize("page", ["tokens", "cookie-sessions", "api-keys"])
def test_the_lines_show_what_stands_below_them(demo: Server, page: str) -> None:
    """Pasted into one shell after another, each block prints what the block of text after it says, in its order."""
    found = blocks((GUIDES / f"{page}.md").read_text(encoding="utf-8"))
    script, expected = "", []
    for block in found:
        if block.language == "sh":
            script += f"{block.text}\necho\n"
        elif block.language == "text":
            expected += block.text.splitlines()
    tokens = log_in(demo, "maker")
    told = {
        "limen": demo.address,
        "password": demo_accounts(demo)["maker"]["password"],
        "access": tokens["access_token"],
        "PATH": f"{Path(LIMEN).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-eu"],
        input=script,
        cwd=demo.folder,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(**told),
    )
    assert done.returncode == 0, done.stderr
    assert len(expected) > 0
    place = 0
    for line in expected:
        place = done.stdout.find(line, place)
        assert place >= 0, (line, done.stdout)


def test_each_strategy_has_its_page() -> None:
    """The page that compares them leads to a page for each, and each says what is for and what against it."""
    named = {Path(target.partition("#")[0]).stem for target in links(CHOOSE)}
    assert not STRATEGIES - named
    for name in STRATEGIES - {"gateways", "external-issuers"}:
        assert "| for it | against it |" in (GUIDES / f"{name}.md").read_text(encoding="utf-8"), name
