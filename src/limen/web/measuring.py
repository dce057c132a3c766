"""Counts what limen's own routes answer, and how long that took; the application's routes are not measured."""

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.core import metrics

ROUTE_KEY = "limen.route"
"""Where the path of a route of limen's own is in the scope, as it is declared."""


def measured(app: ASGIApp, method: str, route: str) -> ASGIApp:
    """Return an application that counts each answer of another one.

    Args:
        app: what answers.
        method: the method under which it is registered, and not what a caller sends.
        route: the path under which it is registered, with its parameters by name: what stands in the address of a
            request never becomes a label.
    """

    async def measuring(scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE_KEY] = route
        status = "none"  # a client that hung up has no answer
        began = perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await app(scope, receive, noting)
        except Exception as error:
            # The guard, which stands around this, answers it.
            status = str(getattr(error, "status", 500))
            raise
        finally:
            metrics.REQUESTS.add(method, route, status)
            metrics.REQUEST_SECONDS.observe(perf_counter() - began, method, route)

    return measuring
