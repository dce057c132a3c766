"""The demo's pages in a real browser, under the policy that they are answered with."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage

from tests.server.conftest import Server, demo_accounts, launch


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running demo."""
    server = launch(tmp_path_factory.mktemp("demo"), "demo")
    yield server
    server.end()


def test_the_interface_is_shown_and_can_be_tried(context: BrowserContext, demo: Server) -> None:
    """``/docs`` renders without breaking its policy, asks nobody else, and a login tried in it answers tokens."""
    page = context.new_page()
    faults: list[str] = []
    asked: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            faults.append(f"{message.text} {message.location}")

    page.on("console", note)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    shown = page.goto(f"{demo.address}/docs")
    assert shown is not None
    assert "unsafe" not in shown.headers["content-security-policy"]
    login = page.locator(".opblock", has_text="/auth/login")
    login.get_by_role("button").first.click()
    login.get_by_role("button", name="Try it out").click()
    password = demo_accounts(demo)["maker"]["password"]
    login.locator("textarea").fill(f'{{"username": "maker", "password": "{password}"}}')
    login.get_by_role("button", name="Execute").click()
    login.locator(".live-responses-table", has_text="access_token").wait_for()
    page.screenshot(path=demo.folder / "docs.png", full_page=False)
    assert faults == []
    assert [url for url in asked if not url.startswith((demo.address, "data:"))] == []
    assert page.locator(".opblock").count() > 20
