"""The words in which limen's own routes describe themselves as OpenAPI 3.1 paths."""

from collections.abc import Mapping
from typing import Any, Final

from limen.web.guard.openapi import COOKIE_SCHEME, SCHEME

Schema = dict[str, Any]
Paths = dict[str, dict[str, Any]]
"""Operations by path, then by method in lower case."""

BEARER: Final[list[dict[str, list[str]]]] = [{SCHEME: []}, {COOKIE_SCHEME: []}]
"""Either credential: an access token, or a session cookie with its anti-forgery token where something changes."""
COOKIE: Final[list[dict[str, list[str]]]] = [{COOKIE_SCHEME: []}]
BODY_PROBLEMS: Final = (400, 413, 415, 422)
"""How a route refuses that reads a body."""
GUARDED: Final = (401, 403, 503)
"""How a route refuses that asks live for a permission."""


def text(**bounds: Any) -> Schema:
    """Describe a text."""
    return {"type": "string", **bounds}


def array(items: Schema, **bounds: Any) -> Schema:
    """Describe an array."""
    return {"type": "array", "items": items, **bounds}


def object_of(properties: Mapping[str, Any], *optional: str) -> Schema:
    """Describe an object that has these properties and no other."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def listed(item: Schema) -> Schema:
    """Describe a part of a list."""
    return object_of({"items": array(item), "next": {"type": ["string", "null"]}})


def parameter(name: str, schema: Schema, *, where: str = "query", description: str = "") -> Schema:
    """Describe a parameter of the path or of the query."""
    told = {"description": description} if description else {}
    return {"name": name, "in": where, "required": where == "path", "schema": schema, **told}


PAGE: Final = (
    parameter("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
    parameter("after", text(), description="`next` of the page before"),
)
"""The parameters of every list."""


def operation(
    summary: str,
    answers: Mapping[int, Mapping[str, Any] | None],
    *problems: int,
    parameters: tuple[Schema, ...] = (),
    body: Mapping[str, Any] | None = None,
    body_required: bool = True,
    security: list[dict[str, list[str]]] | None = None,
) -> Schema:
    """Describe one operation.

    Args:
        summary: what it does, in a few words.
        answers: the schema of the JSON it answers by status; None for an answer without a body.
        problems: the statuses with which it answers problem details.
        parameters: of the path and of the query.
        body: the schema of the JSON it reads.
        body_required: whether it has to be there.
        security: `BEARER`, or nothing for what anybody may call.
    """
    responses: Schema = {}
    for status, schema in answers.items():
        content = {"application/json": {"schema": schema}} if schema is not None else None
        responses[str(status)] = {"description": summary, **({"content": content} if content else {})}
    for status in problems:
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/LimenProblem"}}}
        responses[str(status)] = {"description": "Problem details (RFC 9457)", "content": content}
    described: Schema = {"summary": summary, "tags": ["limen"], "security": security or []}
    if parameters:
        described["parameters"] = list(parameters)
    if body is not None:
        described["requestBody"] = {"required": body_required, "content": {"application/json": {"schema": body}}}
    return {**described, "responses": responses}
