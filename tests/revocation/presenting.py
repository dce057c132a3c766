"""What else may be alive when an act takes something away: presented to a gate as a request would present it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.types import ASGIApp

from limen import Limen
from limen.features.accounts.service import AccountView
from limen.features.api_keys.service import Wanted
from limen.features.roles.service import OPERATOR
from tests.support.gates import PASSWORD

HOST = "https://app.example"
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}


def application(gate: Limen) -> Starlette:
    """Make an application of a process: limen's own routes are enough."""
    app = Starlette()
    gate.protect(app)
    return app


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    """Return a client of it that keeps no cookie between two requests."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HOST)


async def by_cookie_session(gate: Limen, app: ASGIApp, _ann: AccountView) -> dict[str, str]:
    """Open a cookie session; return the headers of a request with it."""
    async with client_of(app) as client:
        answer = await client.post("/auth/session", json={"username": "ann", "password": PASSWORD}, headers=OWN)
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


async def by_refresh_cookie(gate: Limen, app: ASGIApp, _ann: AccountView) -> dict[str, str]:
    """Log in and ask for the refresh token as a cookie; return the headers of a request with it."""
    body = {"username": "ann", "password": PASSWORD, "refresh": "cookie"}
    async with client_of(app) as client:
        answer = await client.post("/auth/login", json=body, headers=OWN)
    return {**OWN, "Cookie": answer.headers["set-cookie"].partition(";")[0]}


async def by_api_key(gate: Limen, _app: ASGIApp, ann: AccountView) -> dict[str, str]:
    """Make a key; return the headers of a request with it."""
    assert gate.api_keys is not None
    made = await gate.api_keys.service.create_for(OPERATOR, ann.id, Wanted("a program"))
    return {"X-API-Key": made.key}


@dataclass(frozen=True)
class Presented:
    """One way to come in, and what a request that lives is answered.

    Attributes:
        open: makes what is presented; returns the headers.
        method: of the request.
        path: of the request.
    """

    open: Callable[[Limen, ASGIApp, AccountView], Awaitable[dict[str, str]]]
    method: str = "GET"
    path: str = "/auth/me"

    async def ask(self, app: ASGIApp, headers: dict[str, str]) -> Any:
        """Send the request."""
        async with client_of(app) as client:
            return await client.request(self.method, self.path, headers=headers)


WAYS = {
    "cookie session": Presented(by_cookie_session),
    "refresh cookie": Presented(by_refresh_cookie, "POST", "/auth/refresh"),
    "API key": Presented(by_api_key),
}
