"""``/healthz`` and ``/readyz`` of the stand-alone server."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from limen.web.routes.endpoint import Routes, endpoint, json_answer
from limen.web.starlette import public


def health_routes(ready: Callable[[], Awaitable[Mapping[str, str]]]) -> Routes:
    """Make the two endpoints.

    Args:
        ready: returns what is to be said besides; raises `Unavailable` where the database does not answer or is behind.
    """

    @public
    @endpoint
    async def healthz(request: Request) -> Response:
        """Tell that the process is alive."""
        return json_answer({"status": "ok"})

    @public
    @endpoint
    async def readyz(request: Request) -> Response:
        """Tell that requests can be served: the database answers and its schema is current."""
        return json_answer({"status": "ready", **await ready()})

    return {"/healthz": {"GET": healthz}, "/readyz": {"GET": readyz}}
