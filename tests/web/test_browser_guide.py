"""The page «Browsers and the wire»: what it prints runs, and does what it says."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.testclient import TestClient

from limen.fastapi import public
from limen.web.headers import OWN_PAGE_HEADERS, USUAL
from tests.docs.markdown import ROOT, blocks
from tests.support.gates import gate_for

GUIDE = (ROOT / "docs" / "guides" / "browser.md").read_text(encoding="utf-8")


def sample(part: str) -> str:
    """Return the block of Python in which this stands."""
    [text] = [block.text for block in blocks(GUIDE) if block.language == "python" and part in block.text]
    return text


def test_headers_of_ones_own(tmp_path: Path) -> None:
    """The middleware's headers stand, and the others are still there, once."""
    app = FastAPI()
    names: dict[str, Any] = {
        "app": app,
        "Request": Request,
        "Response": Response,
        "Callable": Callable,
        "Awaitable": Awaitable,
    }
    exec(sample("browser_headers"), names)  # noqa: S102 - the page's own words

    @app.get("/page")
    @public
    async def page() -> str:
        return "page"

    gate_for(tmp_path).protect(app)
    with TestClient(app) as client:
        answer = client.get("/page")
    assert answer.headers.get_list("permissions-policy") == ["camera=(), geolocation=(), microphone=(), payment=()"]
    assert answer.headers.get_list("content-security-policy")[0].startswith("default-src 'self'")
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]


def test_the_page_of_the_interface(tmp_path: Path) -> None:
    """The three lines give an application the page."""
    names: dict[str, Any] = {}
    exec(sample("add_docs(app, public)"), names)  # noqa: S102 - the page's own words
    gate_for(tmp_path).protect(names["app"])
    with TestClient(names["app"]) as client:
        assert "swagger-ui-bundle.js" in client.get("/docs").text


def test_the_table_names_what_is_sent() -> None:
    """Every header of both sets has its row, with its value where that is one word."""
    sent = {*USUAL.sets[True][True], *OWN_PAGE_HEADERS}
    rows = [line for line in GUIDE.splitlines() if line.startswith("| `")]
    for name, value in sent:
        [row] = [line for line in rows if line.lower().startswith(f"| `{name.decode()}`")]
        text = value.decode()
        assert text in row or name in {b"strict-transport-security", b"permissions-policy"}
    devices = dict(USUAL.sets[False][False])[b"permissions-policy"].decode()
    assert all(f"`{each.partition('=')[0]}`" in GUIDE for each in devices.split(", "))
