"""What the guard requires, in a FastAPI application's OpenAPI document, where clients and readers of /docs see it."""

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from limen.guard.own_code import name_of
from limen.guard.requirements import AUTHENTICATED, Requirement
from limen.web.guard.walk import ListedLeaf

Document = dict[str, Any]

SCHEME = "limen"
"""The name of the security scheme of access tokens."""
COOKIE_SCHEME = "limenCookie"
"""The name of the security scheme of session cookies."""
KEY_SCHEME = "limenApiKey"
"""The name of the security scheme of API keys."""
CERTIFICATE_SCHEME = "limenClientCertificate"
"""The name of the security scheme of client certificates (OpenAPI 3.1, section 4.8.27)."""

EXTENSION = "x-limen"
"""The key of an operation's requirement (OpenAPI 3.1, section 4.9: extensions begin with ``x-``)."""

_CONVERTOR = re.compile(r"\{(\w+):\w+\}")
_PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "code", "trace_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "trace_id": {"type": "string"},
    },
}
_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "The access_token of a login: POST /auth/login, or where else one is issued.",
}
_COOKIE = {
    "type": "apiKey",
    "in": "cookie",
    "name": "__Host-limen",
    "description": "A session cookie; what changes something needs the header X-CSRF-Token as well. On plain http at a "
    "loopback address the cookie is called limen.",
}
_KEY = {
    "type": "apiKey",
    "in": "header",
    "name": "X-API-Key",
    "description": "An API key, wherever no login is asked for; Authorization: Bearer lim_… does the same.",
}
_CERTIFICATE = {
    "type": "mutualTLS",
    "description": "The client certificate of a service; alone, or with an access token that is bound to it.",
}
_UNAUTHENTICATED = {
    "description": "Nobody is authenticated.",
    "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/LimenProblem"}}},
}
_FORBIDDEN = {
    "description": "Something that is required is missing; the detail says what.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/LimenProblem"}}},
}


_ABSENT = {
    "description": "There is no such thing, or it is not the caller's to know of.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/LimenProblem"}}},
}

_TOO_MANY = {
    "description": "Too many requests.",
    "headers": {
        "Retry-After": {"schema": {"type": "integer"}, "description": "When to come again (seconds)."},
        "RateLimit": {"schema": {"type": "string"}, "description": "What is left of each limit."},
        "RateLimit-Policy": {"schema": {"type": "string"}, "description": "The limits."},
    },
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/LimenProblem"}}},
}


def describing(
    original: Callable[[], Document], leaves: Callable[[], Iterable[ListedLeaf]], extra: Mapping[str, Any]
) -> Callable[[], Document]:
    """Return what is to stand in for a FastAPI application's ``openapi`` method.

    Args:
        original: the method; it answers the same object until routes are added.
        leaves: lists the application's leaves.
        extra: a partial document with ``paths`` and ``components``, of routes that are no operations of FastAPI's.
    """
    kept: list[tuple[Document, Document]] = []

    def openapi() -> Document:
        source = original()
        if not kept or kept[0][0] is not source:
            kept[:] = [(source, described(source, leaves(), extra))]
        return kept[0][1]

    return openapi


def described(source: Document, leaves: Iterable[ListedLeaf], extra: Mapping[str, Any]) -> Document:
    """Return a document that says of each operation what it requires."""
    document = copy.deepcopy(source)
    paths = document.setdefault("paths", {})
    for path, operations in extra.get("paths", {}).items():
        for method, operation in operations.items():
            paths.setdefault(path, {}).setdefault(method, copy.deepcopy(operation))
    components = document.setdefault("components", {})
    for kind, parts in extra.get("components", {}).items():
        for name, part in parts.items():
            components.setdefault(kind, {}).setdefault(name, copy.deepcopy(part))
    components.setdefault("securitySchemes", {})[SCHEME] = copy.deepcopy(_TOKEN)
    components["securitySchemes"].setdefault(COOKIE_SCHEME, copy.deepcopy(_COOKIE))
    components["securitySchemes"].setdefault(KEY_SCHEME, copy.deepcopy(_KEY))
    components["securitySchemes"].setdefault(CERTIFICATE_SCHEME, copy.deepcopy(_CERTIFICATE))
    components.setdefault("schemas", {}).setdefault("LimenProblem", copy.deepcopy(_PROBLEM))
    own = tuple(extra.get("components", {}).get("securitySchemes", {}))
    for each in leaves:
        operations = paths.get(_CONVERTOR.sub(r"{\1}", each.path), {})
        for method in each.methods:
            operation = operations.get(method.lower())
            if operation is not None:
                _describe(operation, each.leaf.required_for(method), own)
    return document


def _describe(operation: Document, requirement: Requirement, own: tuple[str, ...] = ()) -> None:
    if EXTENSION in operation:
        return  # an earlier route has this path and method: it is the one that answers
    operation[EXTENSION] = as_values(requirement)
    if requirement.limits:
        operation.setdefault("responses", {}).setdefault("429", copy.deepcopy(_TOO_MANY))
    if requirement.public:
        operation["security"] = []
        return
    present = list(operation.get("security", ()))
    if any(CERTIFICATE_SCHEME in each for each in present):
        pass  # limen's own: it says itself what else it takes
    elif requirement.client_certificate:
        # Objects are alternatives, the members of one are asked together.
        operation["security"] = [{CERTIFICATE_SCHEME: []}, {SCHEME: [], CERTIFICATE_SCHEME: []}]
    elif not any(SCHEME in each or COOKIE_SCHEME in each for each in present):
        names = (SCHEME, COOKIE_SCHEME, *(() if requirement.interactive else (KEY_SCHEME,)), *own)
        operation["security"] = [*present, *({name: []} for name in names)]
    sentence = in_words(requirement)
    given = operation.get("description")
    operation["description"] = f"{given}\n\n{sentence}" if given else sentence
    responses = operation.setdefault("responses", {})
    responses.setdefault("401", copy.deepcopy(_UNAUTHENTICATED))
    if replace(requirement, live=False, interactive=False, client_certificate=False, limits=()) != AUTHENTICATED:
        responses.setdefault("403", copy.deepcopy(_FORBIDDEN))
    if any(each.hide or each.load is not None for each in requirement.questions):
        responses.setdefault("404", copy.deepcopy(_ABSENT))


def as_values(requirement: Requirement) -> Document:
    """Return a requirement as JSON: each list in ``roles`` and ``any_permission`` needs one of its names."""
    limits: Document = {"rate_limits": [str(each.rate) for each in requirement.limits]} if requirement.limits else {}
    if requirement.public:
        return {"public": True, **limits}
    values: Document = {"public": False, "live": requirement.live, **limits}
    if requirement.interactive:
        values["interactive"] = True
    if requirement.client_certificate:
        values["client_certificate"] = True
    if requirement.roles_any:
        values["roles"] = [list(names) for names in requirement.roles_any]
    if requirement.permissions_all:
        values["permissions"] = list(requirement.permissions_all)
    if requirement.permissions_any:
        values["any_permission"] = [list(names) for names in requirement.permissions_any]
    if requirement.questions:
        values["policies"] = [
            {"action": each.action, "resource": each.load is not None, "hide": each.hide}
            for each in requirement.questions
        ]
    if requirement.checks:
        values["guards"] = [name_of(check) for check in requirement.checks]
    if requirement.intercepts:
        pairs = [(each.before, each.after) for each in requirement.intercepts]
        values["intercepts"] = [name_of(function) for pair in pairs for function in pair if function is not None]
    return values


def in_words(requirement: Requirement) -> str:
    """Return a requirement as one sentence in Markdown."""
    parts = [_one_of("role", names) for names in requirement.roles_any]
    parts += [f"the permission `{name}`" for name in requirement.permissions_all]
    parts += [_one_of("permission", names) for names in requirement.permissions_any]
    if requirement.live:
        parts.append("an account that is active at this moment")
    if requirement.interactive:
        parts.append("a person who has logged in: no API key and no service")
    if requirement.client_certificate:
        parts.append("the client certificate of a service")
    parts += [
        f"that the policies allow `{each.action}`{' of what is asked for' if each.load is not None else ''}"
        for each in requirement.questions
    ]
    parts += [f"that `{name_of(check)}` says yes" for check in requirement.checks]
    return f"**Requires** {', and '.join(parts)}." if parts else "**Requires** authentication."


def _one_of(noun: str, names: tuple[str, ...]) -> str:
    quoted = ", ".join(f"`{name}`" for name in names)
    return f"the {noun} {quoted}" if len(names) == 1 else f"one of the {noun}s {quoted}"
