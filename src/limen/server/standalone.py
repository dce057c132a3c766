"""The stand-alone server: limen's own routes, and nothing else."""

from collections.abc import Callable

from fastapi import FastAPI

from limen.authz.administration import DEFAULT_ROLES
from limen.server.addresses import bind
from limen.server.process import serve
from limen.settings import Settings
from limen.web.docs import add_docs
from limen.web.starlette import public
from limen.wiring import Limen


def application(settings: Settings) -> FastAPI:
    """Make the server's application: ``/auth/…``, ``/admin/api/…``, ``/healthz``, ``/readyz``.

    ``/docs`` is there where LIMEN_DOCS is on.

    It goes by the roles in the database; where there has never been one, it begins with ``admin``, which administers.
    """
    app = FastAPI(title="limen", docs_url=None, redoc_url=None, openapi_url=None)
    if settings.docs:
        add_docs(app, public)
    Limen(settings, default_roles=DEFAULT_ROLES).protect(app, health=True, administration=True)
    return app


def run(settings: Settings, *, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve on an address, in this process, until it is told to end.

    Args:
        settings: what limen was told.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        on_ready: called with the URL once requests are answered.

    Raises:
        ConfigurationError, LimenError: what kept it from starting.
        SystemExit: a second signal cut off what was under way (130).
    """
    listener = bind(host, port)
    serve(application(settings), listener, settings, on_ready)
