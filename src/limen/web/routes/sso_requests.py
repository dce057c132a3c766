"""What the endpoints of single sign-on read of a request in the same way, and where they send browsers."""

import msgspec
from starlette.requests import Request

from limen.core.errors import MethodNotAllowed, SsoStateInvalid


class Location(msgspec.Struct):
    """Where the browser is to go now; null where it may stay."""

    location: str | None


def provider_name(request: Request) -> str:
    """Return the provider that the path names; whether there is one is still to be asked."""
    name: str = request.path_params["provider"]
    return name


def once(request: Request, parameter: str) -> str | None:
    """Return a parameter that may be given once; which of two counts would depend on who reads."""
    given = request.query_params.getlist(parameter)
    if len(given) > 1:
        raise SsoStateInvalid(f"{parameter} is given twice.")
    return given[0] if given else None


def refuse_head(request: Request) -> None:
    """Refuse HEAD, which must change nothing, where GET has to begin or end something."""
    if request.method != "GET":
        raise MethodNotAllowed()
