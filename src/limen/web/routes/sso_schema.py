"""How a schema describes ``/auth/sso/…``."""

from typing import Final

from limen.web.routes.schema import (
    BEARER,
    BODY_PROBLEMS,
    Paths,
    Schema,
    array,
    object_of,
    operation,
    parameter,
    text,
)

_PROVIDER: Final = parameter("provider", text(), where="path", description="as it was declared")
_LOCATION: Final = object_of({"location": {"type": ["string", "null"]}})


def sso_paths(prefix: str, tokens: Schema) -> Paths:
    """Describe single sign-on; ``tokens`` is what a login answers."""
    at = f"{prefix}/sso"
    return {**_logins(at, tokens), **_identities(at), **_logouts(at)}


def _logins(at: str, tokens: Schema) -> Paths:
    asked = (
        _PROVIDER,
        parameter("next", text(), description="a path of this origin, or one of LIMEN_SSO_REDIRECTS"),
        parameter("code_challenge", text(), description="S256, of a client that will exchange a code"),
        parameter("code_challenge_method", text(enum=["S256"])),
    )
    answered = (_PROVIDER, *(parameter(name, text()) for name in ("code", "state", "iss", "error")))
    exchange = object_of({"code": text(), "code_verifier": text()})
    return {
        f"{at}/{{provider}}/login": {
            "get": operation("Go to a sign-in provider", {302: None}, 400, 404, 422, 429, 503, parameters=asked)
        },
        f"{at}/{{provider}}/callback": {
            "get": operation(
                "Come back from a sign-in provider", {302: None}, 400, 401, 403, 404, 409, 429, 503, parameters=answered
            )
        },
        f"{at}/exchange": {
            "post": operation("Exchange a one-time code", {200: tokens}, *BODY_PROBLEMS, 503, body=exchange)
        },
    }


def _identities(at: str) -> Paths:
    identity = object_of(
        {"id": text(format="uuid"), "provider": text(), "issuer": text(), "created_at": text(format="date-time")}
    )
    listed = object_of({"items": array(identity), "next": {"type": "null"}})
    return {
        f"{at}/{{provider}}/link": {
            "post": operation(
                "Link an identity to my account",
                {200: _LOCATION},
                401,
                403,
                404,
                *BODY_PROBLEMS,
                429,
                503,
                parameters=(_PROVIDER,),
                body=object_of(
                    {
                        "next": {"type": ["string", "null"]},
                        "current_password": {"type": ["string", "null"], "maxLength": 1024},
                    },
                    "next",
                    "current_password",
                ),
                security=BEARER,
            )
        },
        f"{at}/identities": {"get": operation("My identities", {200: listed}, 401, 503, security=BEARER)},
        f"{at}/identities/{{id}}": {
            "delete": operation(
                "Unlink an identity",
                {204: None},
                401,
                403,
                404,
                409,
                503,
                parameters=(parameter("id", text(), where="path"),),
                security=BEARER,
            )
        },
    }


def _logouts(at: str) -> Paths:
    return {
        f"{at}/{{provider}}/logout": {
            "get": operation("Ask whether to log out", {200: None}, 401, 404, 503, parameters=(_PROVIDER,)),
            "post": operation(
                "Log out here and at the provider", {200: _LOCATION}, 400, 401, 403, 404, 503, parameters=(_PROVIDER,)
            ),
        },
        f"{at}/{{provider}}/backchannel-logout": {
            "post": operation("A provider's logout", {200: None}, 400, 404, 413, 415, 503, parameters=(_PROVIDER,))
        },
    }
