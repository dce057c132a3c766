"""The application that is tested as a process: guarded by limen, with handles that break what is below it."""

import os
import sys
from typing import Any

from fastapi import FastAPI, Request
from starlette.websockets import WebSocket

from limen import Limen
from limen.authz.administration import ADMINISTRATION
from limen.fastapi import CurrentPrincipal, live, permissions, public, roles
from limen.storage.sql.statement import Statement, rows
from limen.web.logs import configure_logging
from tests.support.gates import ROLES

ADMINISTRATOR = "administrator"
_EVERYTHING = ADMINISTRATION.union(*ROLES.values())


class Broken(RuntimeError):
    """What the application raises on purpose."""


def make() -> FastAPI:
    """Make it from the environment."""
    configure_logging(
        os.environ.get("LIMEN_LOG_LEVEL", "info").lower(), stream=sys.stderr, loggers=("limen", "uvicorn")
    )
    gate = Limen.from_env(roles={**ROLES, ADMINISTRATOR: _EVERYTHING})
    app = FastAPI()
    gate.protect(app, administration=True)
    app.state.gate = gate

    @app.get("/open")
    @public
    async def open_to_all() -> dict[str, bool]:
        return {"open": True}

    @app.get("/guarded")
    async def guarded(me: CurrentPrincipal) -> dict[str, str]:
        return {"sub": me.sub}

    @app.post("/orders")
    @permissions("order:create")
    async def create(order: dict[str, Any]) -> dict[str, bool]:
        return {"created": True}

    @app.post("/orders/{order_id}/approve")
    @roles("checker")
    @live
    async def approve(order_id: int) -> dict[str, int]:
        return {"approved": order_id}

    @app.get("/live")
    @live
    async def alive() -> dict[str, bool]:
        return {"live": True}

    @app.get("/store-calls")
    @public
    async def store_calls() -> dict[str, int]:
        return {"calls": gate.storage.calls}

    @app.get("/broken")
    async def broken() -> None:
        raise Broken("the application failed")

    @app.websocket("/socket")
    async def socket(connection: WebSocket) -> None:
        await connection.accept()
        await connection.send_json({"open": True})
        await connection.close()

    _add_handles(app, gate)
    return app


def _add_handles(app: FastAPI, gate: Limen) -> None:
    @app.post("/test/most-pages/{pages}")
    @public
    async def most_pages(pages: int) -> None:
        """Let the database have that many pages and no more: SQLite then says that the disk is full."""
        storage: Any = gate.storage
        await storage.write(lambda: rows(Statement(f"PRAGMA max_page_count={pages}")))

    @app.post("/test/broken-store/{verb}")
    @public
    async def broken_store(verb: str, request: Request) -> None:
        """Make a verb of the store fail in a way that nobody foresaw."""

        async def fail(*arguments: object, **named: object) -> None:
            raise Broken("the store failed")

        for store in (gate.storage.accounts, gate.storage.sessions, gate.storage.issuing):
            if hasattr(store, verb):
                setattr(store, verb, fail)
