"""A service that verifies the tokens of a limen elsewhere, as a process of its own; all it knows is its environment."""

import argparse
import os
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from limen import Limen, LimenError
from limen.starlette import public, roles


def application() -> Starlette:
    """Make it."""
    server = Limen.resource_server(
        issuer=os.environ["ORDERS_ISSUER"],
        audience=os.environ["ORDERS_ISSUER"],
        jwks_url=os.environ["ORDERS_AUTH"] + "/.well-known/jwks.json",
        watch_url=os.environ["ORDERS_AUTH"] + "/auth/ended" if os.environ.get("ORDERS_KEY") else None,
        watch_key=os.environ.get("ORDERS_KEY") or None,
        when_blind=cast(Any, os.environ.get("ORDERS_WHEN_BLIND", "serve")),
        roles={"admin": ["order:read"]},
    )
    app = Starlette()
    server.protect(app)

    @roles("admin")
    async def orders(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.user.sub)

    @public
    async def alive(request: Request) -> PlainTextResponse:
        return PlainTextResponse("alive")

    @public
    async def state(request: Request) -> JSONResponse:
        try:
            return JSONResponse(dict(await server.ready()))
        except LimenError as error:
            return JSONResponse({"detail": str(error)}, error.status)

    app.add_route("/orders", orders)
    app.add_route("/readyz", alive)
    app.add_route("/state", state)
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    told = parser.parse_args()
    uvicorn.run(application(), host=told.host, port=told.port, log_level="warning")
