"""The demo's mails in a real browser: the links on their page work, by the form that the mail leads to."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page

from tests.server.conftest import Server, launch

ADDRESS = "ada@example.org"
FITS = "document.documentElement.scrollWidth <= innerWidth"
"""On a telephone nobody has to scroll sideways. The page of mails loads itself anew: this is waited for, not asked."""
FIRST, SECOND = "a pass phrase of my own", "another pass phrase of mine"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running demo, in which somebody has registered."""
    server = launch(tmp_path_factory.mktemp("demo"), "demo")
    with server.client() as client:
        body = {"username": "ada", "password": FIRST, "email": ADDRESS}
        assert client.post("/auth/register", json=body).status_code == 201
    yield server
    server.end()


def _follow(page: Page, demo: Server, subject: str) -> None:
    """Open the page of mails, which loads itself anew until the mail is there, and click on its link."""
    page.goto(f"{demo.address}/demo/mails")
    mail = page.locator("article", has=page.get_by_role("heading", name=subject))
    mail.first.wait_for(timeout=60_000)
    page.set_viewport_size({"width": 360, "height": 740})
    page.wait_for_function(FITS, timeout=60_000)
    mail.first.get_by_role("link").first.click()


def test_a_forgotten_password_is_replaced_by_clicking(context: BrowserContext, demo: Server) -> None:
    """From the address that is confirmed to the login with the new password; nothing breaks a page's policy."""
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    _follow(page, demo, "Confirm this address")
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("heading", name="Your address is confirmed").wait_for()
    with demo.client() as client:
        assert client.post("/auth/password/forgot", json={"email": ADDRESS}).status_code == 202
    _follow(page, demo, "Choose a new password")
    page.get_by_label("New password").fill(SECOND)
    page.wait_for_function(FITS, timeout=60_000)
    page.get_by_role("button", name="Set the password").click()
    page.get_by_role("heading", name="Your password is set").wait_for()
    with demo.client() as client:
        for password, status in ((FIRST, 401), (SECOND, 200)):
            answer = client.post("/auth/login", json={"username": "ada", "password": password})
            assert answer.status_code == status
    page.goto(f"{demo.address}/demo/mails")
    page.get_by_role("heading", name="Your password at 127.0.0.1 was reset").wait_for(timeout=60_000)
    page.screenshot(path=demo.folder / "mails.png", full_page=True)
    assert faults == []


@pytest.mark.parametrize(("host", "status"), [("evil.example", 404), ("127.0.0.1.evil.example", 404), (None, 200)])
def test_the_mails_are_shown_to_this_machine_alone(demo: Server, host: str | None, status: int) -> None:
    """A page elsewhere whose name leads here does not read them, and no page may frame them or send a script along."""
    headers = {} if host is None else {"Host": host}
    answer = httpx.get(f"{demo.address}/demo/mails", headers=headers, timeout=30, trust_env=False)
    assert answer.status_code == status
    assert ADDRESS not in answer.text or status == 200
    if status == 200:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "no-store" in answer.headers["cache-control"]
        assert "/demo/mails" in demo.out
