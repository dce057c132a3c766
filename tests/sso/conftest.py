"""A provider, a gate that lets people come from it, and browsers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen, SSOProvider
from limen.testing.clock import TurnableClock
from tests.sso.provider import CLIENT_ID, CLIENT_SECRET, Claims, Provider, callback, running_provider
from tests.support.gates import ROLES, settings_for

HOST = "https://app.example"
LOOPBACK = ["127.0.0.0/8"]
PAGE = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def provider() -> Iterator[Provider]:
    """An honest provider."""
    with running_provider() as provider:
        yield provider


@pytest.fixture
def clock() -> TurnableClock:
    """The clock of gate and database."""
    return TurnableClock()


def declared(provider: Provider, name: str = "corp", **changes: Any) -> SSOProvider:
    """Declare a provider, which makes accounts unless it is told otherwise."""
    values = {"issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "create": True}
    return SSOProvider(name=name, **{**values, **changes})


@pytest.fixture
def make_gate(tmp_path: Path, clock: TurnableClock) -> Callable[..., Limen]:
    """Makes gates."""

    def make(*providers: SSOProvider, separation_of_duty: Any = None, **overrides: Any) -> Limen:
        values = {"public_url": HOST, "outbound_allow": LOOPBACK, **overrides}
        settings = settings_for(tmp_path, **values)
        return Limen(settings, roles=ROLES, sso=providers, separation_of_duty=separation_of_duty, clock=clock)

    return make


@pytest.fixture
def gate(make_gate: Callable[..., Limen], provider: Provider) -> Limen:
    """A gate with the provider ``corp``."""
    return make_gate(declared(provider))


@pytest.fixture
def serve() -> Iterator[Callable[..., TestClient]]:
    """Puts an application behind a gate, and gives browsers of it."""
    with ExitStack() as stack:
        served: dict[int, Starlette] = {}

        def client_of(gate: Limen, base_url: str = HOST) -> TestClient:
            if id(gate) not in served:
                app = Starlette()
                gate.protect(app)
                served[id(gate)] = app
                return stack.enter_context(TestClient(app, base_url=base_url, follow_redirects=False))
            return TestClient(served[id(gate)], base_url=base_url, follow_redirects=False)

        yield client_of


@pytest.fixture
def browser(gate: Limen, serve: Callable[..., TestClient]) -> TestClient:
    """A browser, over https."""
    return serve(gate)


def begin(browser: TestClient, query: str = "", name: str = "corp") -> str:
    """Click on the provider's button; where the browser is sent."""
    answer = browser.get(f"/auth/sso/{name}/login{query}")
    assert answer.status_code == 302, answer.text
    location: str = answer.headers["location"]
    return location


def log_in(browser: TestClient, provider: Provider, query: str = "", name: str = "corp", **changes: str) -> Any:
    """Log in from the click to the callback, whose answer is returned."""
    return browser.get(callback(provider.authorize(begin(browser, query, name), **changes), name))


def me(browser: TestClient) -> Any:
    """Who the browser is."""
    return browser.get("/auth/me").json()


def code_of(answer: Any) -> tuple[int, str]:
    """The status and the code of a refusal."""
    return answer.status_code, answer.json()["code"]


def kept(provider: Provider) -> list[str]:
    """Keep a copy of every ID token that the provider makes from now on."""
    tokens: list[str] = []

    def sign(claims: Claims) -> str:
        tokens.append(provider.signed(claims))
        return tokens[-1]

    provider.sign = sign
    return tokens
