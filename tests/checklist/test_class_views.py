"""Starlette's class views: each method has code of its own."""

from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from limen.checklist.routes.reading import read_application


class Orders(HTTPEndpoint):
    """Who reads is asked, who writes is not."""

    async def get(self, request: Request) -> PlainTextResponse:
        """Refuse a stranger."""
        if request.headers.get("authorization") != "of somebody":
            raise HTTPException(401)
        return PlainTextResponse("")

    async def post(self, request: Request) -> PlainTextResponse:
        """Refuse nobody."""
        return PlainTextResponse("")

    @requires("admin")
    async def delete(self, request: Request) -> PlainTextResponse:
        """Refuse by a scope."""
        return PlainTextResponse("")


def test_a_guarded_get_says_nothing_of_the_post_beside_it() -> None:
    """A leaf for each method, with the guards of its own code."""
    read = read_application(Starlette(routes=[Route("/orders", Orders)]), "here:app")
    assert {each.methods: each.standing for each in read.routes} == {
        ("GET",): "guarded",
        ("POST",): "open",
        ("DELETE",): "guarded",
    }
