"""``/.well-known/jwks.json``: the public keys, for whoever verifies tokens without limen."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.crypto.keys import KeySet
from limen.web.routes.endpoint import Routes, endpoint
from limen.web.starlette import public

JWKS_PATH: Final = "/.well-known/jwks.json"

_encode = msgspec.json.Encoder(order="sorted").encode


class _Document:
    """A set of keys as it is sent."""

    def __init__(self, keys: KeySet, max_age: int) -> None:
        self.keys = keys
        self.body = _encode(keys.public_jwks())
        self.etag = f'"{sha256(self.body).hexdigest()[:32]}"'
        self.headers: Mapping[str, str] = {
            "Cache-Control": f"public, max-age={max_age}",
            "ETag": self.etag,
            "X-Content-Type-Options": "nosniff",
        }


def jwks_routes(keys: Callable[[], KeySet], *, max_age: int) -> Routes:
    """Make the endpoint.

    Args:
        keys: answers the keys of now. Secrets have no public half: with HS256 the set is empty (RFC 7517, section 5).
        max_age: seconds for which a cache may keep the answer.
    """
    current = _Document(keys(), max_age)

    @public
    @endpoint
    async def jwks(request: Request) -> Response:
        """Return the keys that tokens of this issuer are verified with, or 304 to whoever has them already."""
        nonlocal current
        now = keys()
        document = current
        if document.keys is not now:
            document = current = _Document(now, max_age)
        if _has(request, document.etag):
            return Response(status_code=304, headers=document.headers)
        return Response(document.body, media_type="application/json", headers=document.headers)

    return {JWKS_PATH: {"GET": jwks}}


def _has(request: Request, etag: str) -> bool:
    """Tell whether the client names this answer as one that it has (RFC 9110, section 13.1.2)."""
    named = ",".join(request.headers.getlist("if-none-match"))
    return any(each.strip().removeprefix("W/") in {etag, "*"} for each in named.split(","))
