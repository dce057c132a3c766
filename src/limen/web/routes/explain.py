"""``/admin/api/explain``: why an account may do something, or may not."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authz.administration import Administration
from limen.authz.explaining import shown_value
from limen.core.errors import InputFault, InvalidInput
from limen.web.routes.endpoint import Routes, endpoint, json_answer, principal_of
from limen.web.routes.lists import parameter
from limen.web.routes.schema import BEARER, GUARDED, Paths, array, object_of, operation, text
from limen.web.routes.schema import parameter as described
from limen.web.starlette import live, permissions

if TYPE_CHECKING:
    # A name only: whoever has no policies does not wait for what compiles them.
    from limen.authz.compilers.explain import Explanation

    Explain: TypeAlias = Callable[[str, str, str | None], Awaitable[Explanation]]


class ShownLeaf(msgspec.Struct):
    """A part of a rule that did not hold, with the values that it compared."""

    leaf: str
    left: str | None
    right: str | None


class ShownExplanation(msgspec.Struct):
    """Why."""

    allowed: bool
    version: str
    rule: str
    failed: list[ShownLeaf]


def shown(explanation: "Explanation") -> ShownExplanation:
    """Return what is shown of an explanation: the values that were compared, as text, and nothing else."""
    return ShownExplanation(
        allowed=explanation.allowed,
        version=explanation.version,
        rule=explanation.rule,
        failed=[
            ShownLeaf(each.leaf, shown_value(each.left, each.code), shown_value(each.right, each.code))
            for each in explanation.failed
        ],
    )


def explain_routes(explain: "Explain", *, prefix: str) -> Routes:
    """Make the endpoint under ``prefix``. It is asked live, and by permission."""

    @live
    @permissions(Administration.POLICIES_EXPLAIN)
    @endpoint
    async def explain_decision(request: Request) -> Response:
        """Say why an account may do something, or may not."""
        principal_of(request)  # of this limen, as on every route of its own
        account, action = _required(request, "account"), _required(request, "action")
        return json_answer(shown(await explain(account, action, parameter(request, "resource"))))

    return {f"{prefix}/explain": {"GET": explain_decision}}


def _required(request: Request, name: str) -> str:
    value = parameter(request, name)
    if value is None:
        message = f"Give {name}=."
        raise InvalidInput(message, errors=[InputFault(("query", name), "missing", message)])
    return value


def explain_paths(prefix: str) -> Paths:
    """Describe it."""
    value = {"type": ["string", "null"]}
    leaf = object_of({"leaf": text(), "left": value, "right": value})
    answer = object_of({"allowed": {"type": "boolean"}, "version": text(), "rule": text(), "failed": array(leaf)})
    asked = (
        {**described("account", text(maxLength=320), description="its id or its username"), "required": True},
        {**described("action", text(maxLength=320)), "required": True},
        described("resource", text(maxLength=320), description="`Model:id`"),
    )
    summary = "Why an account may do something, or may not"
    told = operation(summary, {200: answer}, *GUARDED, 404, 422, parameters=asked, security=BEARER)
    return {f"{prefix}/explain": {"get": told}}
