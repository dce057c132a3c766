"""The page that shows an application's interface: for whom the application says, from files on this machine."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from limen import Limen
from limen.core.errors import ConfigurationError
from limen.fastapi import add_docs, public, roles
from limen.web import docs
from tests.support.gates import PASSWORD, gate_for

FILES = ("/docs", "/docs/start.js", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/openapi.json")


def test_who_may_read_it_is_said(tmp_path: Path) -> None:
    """The rule holds for the page, for its files and for what it shows; whoever meets it gets all of them."""
    app = FastAPI(openapi_url=None)
    add_docs(app, roles("maker"))
    gate: Limen = gate_for(tmp_path)
    gate.protect(app, strict=True)
    with TestClient(app, base_url="https://app.example") as client:
        assert client.portal is not None

        async def make(name: str, *held: str) -> None:
            await gate.accounts.create(name, PASSWORD, roles=frozenset(held))

        client.portal.call(make, "ann", "maker")
        client.portal.call(make, "bob")
        assert [client.get(path).status_code for path in FILES] == [401] * len(FILES)
        for name, status in (("bob", 403), ("ann", 200)):
            login = client.post("/auth/login", json={"username": name, "password": PASSWORD}).json()
            bearer = {"Authorization": f"Bearer {login['access_token']}"}
            assert [client.get(path, headers=bearer).status_code for path in FILES] == [status] * len(FILES)


def test_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    """The page names files beside it alone, and its policy lets nothing else run, not even in the page itself."""
    app = FastAPI(openapi_url=None)
    add_docs(app, public)
    gate_for(tmp_path).protect(app)
    with TestClient(app, base_url="https://app.example") as client:
        page = client.get("/docs")
        for path in FILES:
            policy = client.get(path).headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "http" not in policy
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "//" not in page.text
    assert "<script>" not in page.text
    assert "<style" not in page.text
    assert "style=" not in page.text


def test_the_frameworks_own_page_is_not_left_beside_it() -> None:
    """An application with FastAPI's pages is told how to be made."""
    with pytest.raises(ConfigurationError, match="openapi_url=None"):
        add_docs(FastAPI(), public)


def test_without_the_files_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package is not installed the page names it, and nothing else is loaded in its place."""
    monkeypatch.setattr(docs, "ASSETS_PACKAGE", "a_package_that_nobody_has")
    app = FastAPI(openapi_url=None)
    add_docs(app, public)
    gate_for(tmp_path).protect(app)
    with TestClient(app, base_url="https://app.example") as client:
        page = client.get("/docs")
        assert client.get("/docs/swagger-ui-bundle.js").status_code == 404
    assert page.status_code == 200
    assert "fastapi-offline" in page.text
    assert "<script" not in page.text
