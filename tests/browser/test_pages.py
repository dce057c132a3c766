"""What the security headers do to pages: an application's work as before, and limen's run under their strict policy."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import uvicorn
from playwright.sync_api import BrowserContext, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from limen import Limen, SSOProvider
from limen.starlette import public
from tests.sso.provider import CLIENT_ID, CLIENT_SECRET, Provider, running_provider
from tests.support.gates import ROLES, settings_for
from tests.support.ports import free_port
from tests.support.processes import until

IMAGE = '<svg xmlns="http://www.w3.org/2000/svg" width="3" height="3"></svg>'
OPENS = """<!doctype html><link rel="icon" href="data:,"><title>waiting</title><button>Log in</button>
<script src="{elsewhere}/library.js"></script>
<script>
  document.querySelector("button").onclick = () => open("/auth/sso/corp/login?next=/back", "login");
  addEventListener("message", event => document.title = "told: " + event.data);
</script>"""
COMES_BACK = """<!doctype html><link rel=icon href=data:,><title>back</title>
<script>window.opener?.postMessage('logged in', location.origin)</script>"""
EMBEDS = "<!doctype html><title>elsewhere</title><img id='open' src='{app}/logo'><img id='kept' src='{app}/photo'>"
WIDTHS = "[...document.images].map(image => [image.id, image.complete && image.naturalWidth > 0])"


class Nowhere:
    """Takes mails, and leaves them."""

    async def send(self, message: Any) -> None:
        """Take one."""


@dataclass
class Neighbours:
    """The application, and somebody else: another site for a browser, although both are on this machine.

    Attributes:
        app: the address of the application.
        elsewhere: the address of the other one.
        provider: who vouches for people there.
        faults: what the browser complained about.
    """

    app: str
    elsewhere: str
    provider: Provider
    faults: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> Page:
        """Note what the browser complains about."""
        page.on("console", lambda told: self.faults.append(told.text) if told.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        return page


def application(gate: Limen, elsewhere: str) -> Starlette:
    """Make the application: pages for everybody, and one image that only who is known may have."""

    @public
    async def page(_request: Request) -> Response:
        return HTMLResponse(OPENS.format(elsewhere=elsewhere))

    @public
    async def back(_request: Request) -> Response:
        return HTMLResponse(COMES_BACK)

    @public
    async def logo(_request: Request) -> Response:
        return Response(IMAGE, media_type="image/svg+xml")

    async def photo(_request: Request) -> Response:
        return Response(IMAGE, media_type="image/svg+xml")

    app = Starlette(
        routes=[Route("/", page), Route("/back", back), Route("/logo", logo), Route("/photo", photo)],
    )
    gate.protect(app)
    return app


@contextmanager
def somebody_else(app: str, provider: Provider) -> Iterator[str]:
    """Serve a library, a page that embeds the application's images, and the provider's page of login."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body, kind, location = "", "text/html", ""
            if parts.path == "/authorize":
                kind = "text/plain"
                location = f"{app}/auth/sso/corp/callback?{urlencode(provider.authorize(self.path))}"
            elif parts.path == "/library.js":
                body, kind = "document.documentElement.dataset.library = 'ran'", "text/javascript"
            elif parts.path == "/embeds":
                body = EMBEDS.format(app=app)
            self.send_response(302 if location else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@contextmanager
def neighbours(folder: Path, **settings: Any) -> Iterator[Neighbours]:
    """Run everybody."""
    port = free_port()
    address = f"http://localhost:{port}"
    with running_provider() as provider, somebody_else(address, provider) as elsewhere:
        provider.metadata = lambda told: {**told, "authorization_endpoint": f"{elsewhere}/authorize"}
        declared = SSOProvider(
            name="corp", issuer=provider.issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, create=True
        )
        told = settings_for(
            folder,
            public_url=address,
            outbound_allow=["127.0.0.0/8"],
            mail_from="no-reply@app.example",
            **settings,
        )
        gate = Limen(told, roles=ROLES, sso=[declared], mail=Nowhere())
        app = application(gate, elsewhere)
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            assert until(lambda: server.started or not thread.is_alive())
            assert thread.is_alive()
            yield Neighbours(address, elsewhere, provider)
        finally:
            server.should_exit = True
            thread.join(60)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    """Everybody, with settings as they are without a word."""
    with neighbours(tmp_path_factory.mktemp("usual")) as everybody:
        yield everybody


@pytest.fixture
def world(usual: Neighbours) -> Neighbours:
    """Everybody, before anything was complained about."""
    usual.faults.clear()
    return usual


def log_in_by_popup(context: BrowserContext, world: Neighbours) -> Page:
    """Open the application's page, and log in at the provider in a popup of its own."""
    page = world.watch(context.new_page())
    page.goto(world.app)
    with page.expect_popup() as opened:
        page.get_by_role("button").click()
    opened.value.wait_for_url("**/back")
    return page


def test_a_page_of_the_application_works_as_before(context: BrowserContext, world: Neighbours) -> None:
    """A script of another site runs, a login in a popup comes back to the page that opened it; nobody complains."""
    page = log_in_by_popup(context, world)
    page.wait_for_function("document.title === 'told: logged in'")
    assert page.evaluate("document.documentElement.dataset.library") == "ran"
    assert page.evaluate("fetch('/photo').then(answer => answer.status)") == 200
    assert world.faults == []


def test_an_opener_policy_cuts_popups_off(context: BrowserContext, tmp_path: Path) -> None:
    """Why it is off unless it is set: also the value that is said to allow popups takes the opener away."""
    with neighbours(tmp_path, opener_policy="same-origin-allow-popups") as world:
        page = world.watch(context.new_page())
        page.goto(world.app)
        with page.expect_popup() as opened:
            page.get_by_role("button").click()
        opened.value.wait_for_function("document.title === 'back'")
        assert opened.value.evaluate("window.opener") is None
        assert page.title() == "waiting"


@pytest.mark.parametrize(("resource_policy", "shown"), [("same-site", True), ("same-origin", False)])
def test_what_is_public_alone_is_for_other_sites(
    context: BrowserContext, tmp_path: Path, resource_policy: str, shown: bool
) -> None:
    """An image for everybody is shown on any page; one for some on none of another site, on a neighbour's as set."""
    with neighbours(tmp_path, resource_policy=resource_policy) as world:
        log_in_by_popup(context, world)
        page = context.new_page()
        # Another port is another origin of the same site, to which the cookie goes along.
        for place, kept in ((world.elsewhere, False), (world.elsewhere.replace("127.0.0.1", "localhost"), shown)):
            page.goto(f"{place}/embeds")
            page.wait_for_function("[...document.images].every(image => image.complete)")
            assert dict(page.evaluate(WIDTHS)) == {"open": True, "kept": kept}, place


@pytest.mark.parametrize(
    "path",
    [
        "/auth/password/reset#some-token",
        "/auth/email/verify#some-token",
        "/auth/sso/corp/callback?state=x&code=y",
        "/auth/sso/corp/logout",
    ],
)
def test_pages_of_limen_keep_their_policy(context: BrowserContext, world: Neighbours, path: str) -> None:
    """Each is laid out by its style, runs its script and no other, and the browser has nothing to complain about."""
    log_in_by_popup(context, world)
    world.faults.clear()
    page = world.watch(context.new_page())
    answer = page.goto(world.app + path)
    assert answer is not None
    headers = answer.headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert page.evaluate("getComputedStyle(document.body).maxWidth") not in {"none", ""}
    if "#" in path:
        assert page.locator("[name=token]").input_value() == "some-token"
        assert page.url == world.app + path.partition("#")[0]
    # The status itself is one: what could not be done is told so.
    assert [each for each in world.faults if "Failed to load resource" not in each] == []
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.evil = 1'}))")
    assert page.evaluate("window.evil") is None


def test_the_page_of_logout_logs_out(context: BrowserContext, world: Neighbours) -> None:
    """Its form is sent under its own policy, and goes on to the provider."""
    page = log_in_by_popup(context, world)
    world.faults.clear()
    page.goto(f"{world.app}/auth/sso/corp/logout")
    page.get_by_role("button").click()
    page.wait_for_url(f"{world.provider.issuer}/end**")
    assert [each for each in world.faults if "Failed to load resource" not in each] == []
    page.goto(world.app)
    assert page.evaluate("fetch('/photo').then(answer => answer.status)") == 401
