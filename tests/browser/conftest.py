"""A real Chromium, driven by playwright, and a shop for it to visit."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.site import SITE, certificate_for_all
from tests.docs.markdown import ROOT

READY_WITHIN_SECONDS = 60
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of a module's tests, none of which is async: playwright runs an event loop of its own meanwhile."""
    found = os.environ.get("LIMEN_TEST_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip("Chromium, which is to visit pages, is not installed (Debian: chromium)")
    with sync_playwright() as playwright:
        # Every name of a test's own leads here. Without a sandbox: continuous integration runs as root.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP *.test 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A profile of the test's own: its tabs share one jar of cookies."""
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(20_000)
    yield context
    context.close()


@dataclass(frozen=True)
class Shop:
    """The running application.

    Attributes:
        address: its URL.
        folder: where it writes down what was ordered.
        certificate: its certificate, None without TLS; whoever stands beside it has the same.
    """

    address: str
    folder: Path
    certificate: Path | None

    @property
    def orders(self) -> list[str]:
        """Return who ordered: nothing else says whether a forged request got through."""
        file = self.folder / "orders.txt"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(scope="module", params=["https", "http"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop over TLS under a name of its own, and without TLS at localhost, as when it is being developed."""
    folder = tmp_path_factory.mktemp("shop")
    certificate = certificate_for_all(folder) if request.param == "https" else None
    command = [sys.executable, "-m", "tests.browser.site", str(folder), *([str(certificate)] if certificate else [])]
    with (folder / "errors.txt").open("w") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    try:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while not (folder / "port").exists():
            assert process.poll() is None, (folder / "errors.txt").read_text()
            assert time.monotonic() < deadline, (folder / "errors.txt").read_text()
            time.sleep(0.05)
        host = SITE if certificate is not None else "localhost"
        yield Shop(f"{request.param}://{host}:{(folder / 'port').read_text()}", folder, certificate)
    finally:
        # Not asked to end: it would wait for the browser's connections.
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def nothing_ordered(request: pytest.FixtureRequest) -> None:
    """Each test begins with no order."""
    if "shop" in request.fixturenames:
        (request.getfixturevalue("shop").folder / "orders.txt").unlink(missing_ok=True)


ASK = """async ([method, path, body, headers]) => {
  const answer = await fetch(path, {
    method, credentials: "include",
    headers: {...(body === null ? {} : {"Content-Type": "application/json"}), ...headers},
    ...(body === null ? {} : {body: JSON.stringify(body)}),
  });
  const text = await answer.text();
  return {status: answer.status, json: text ? JSON.parse(text) : null};
}"""


def ask(page: Page, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Let a script in the page ask; return the status, and the JSON of the answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return page.evaluate(ASK, [method, path, body, named])
