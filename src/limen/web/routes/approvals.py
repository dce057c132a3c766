"""``/approvals``: what waits for me, what I have asked for, and yes or no to it.

Who decides is whom the request is attributed to. No body says whose yes it is, and what is asked is said by the path
alone.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.core.errors import InputFault, InvalidInput
from limen.core.principal import Principal
from limen.features.approvals.service import ApprovalService, ApprovalStatus, ApprovalView, Box, ExecutionState
from limen.web.body import read_json, read_optional_json
from limen.web.guard.state import state_of
from limen.web.routes.endpoint import Routes, endpoint, json_answer, origin_of
from limen.web.routes.lists import asked, list_answer, parameter, rfc3339
from limen.web.routes.schema import (
    BEARER,
    BODY_PROBLEMS,
    PAGE,
    Paths,
    array,
    listed,
    object_of,
    operation,
    text,
)
from limen.web.routes.schema import parameter as described_parameter

PATH: Final = "/approvals"


class ApproveBody(msgspec.Struct, forbid_unknown_fields=True):
    """A yes; it may say what was seen."""

    digest: str | None = None


class RejectBody(msgspec.Struct, forbid_unknown_fields=True):
    """A no, with its reason."""

    reason: str
    digest: str | None = None


class NoBody(msgspec.Struct, forbid_unknown_fields=True):
    """Nothing to say."""


class ShownYes(msgspec.Struct):
    """One yes: whose, and when."""

    approver: str
    approved_at: str


class ShownApproval(msgspec.Struct):
    """What is shown of a request. Times are RFC 3339 in UTC."""

    id: str
    action: str
    resource: str | None
    status: str
    approvals: list[ShownYes]
    quorum: int
    expires_at: str
    payload: Mapping[str, Any]
    digest: str
    version: str | None
    maker: str
    created_at: str
    decided_at: str | None
    decided_by: str | None
    reason: str | None
    execution: str | None
    failure: str | None


def approval_routes(approvals: ApprovalService) -> Routes:
    """Make the endpoints of approvals."""

    @endpoint
    async def list_approvals(request: Request) -> Response:
        """List what the caller may decide on, or what they have asked for; the newest first."""
        limit, after = asked(request)
        page = await approvals.page(_principal(request), _box(request), limit=limit, after=after)
        return list_answer([shown_approval(view) for view in page.items], page.next)

    @endpoint
    async def show_approval(request: Request) -> Response:
        """Show one request."""
        return json_answer(shown_approval(await approvals.show(_principal(request), _id(request))))

    @endpoint
    async def approve(request: Request) -> Response:
        """Say yes."""
        body = await read_optional_json(request.scope, request.receive, ApproveBody)
        seen = None if body is None else body.digest
        view = await approvals.approve(_principal(request), _id(request), seen=seen, origin=origin_of(request))
        return json_answer(shown_approval(view))

    @endpoint
    async def reject(request: Request) -> Response:
        """Say no."""
        body = await read_json(request.scope, request.receive, RejectBody)
        view = await approvals.reject(
            _principal(request), _id(request), body.reason, seen=body.digest, origin=origin_of(request)
        )
        return json_answer(shown_approval(view))

    @endpoint
    async def withdraw(request: Request) -> Response:
        """Take one's own request back."""
        await read_optional_json(request.scope, request.receive, NoBody)
        return json_answer(
            shown_approval(await approvals.withdraw(_principal(request), _id(request), origin=origin_of(request)))
        )

    one = f"{PATH}/{{id}}"
    return {
        PATH: {"GET": list_approvals},
        one: {"GET": show_approval},
        f"{one}/approve": {"POST": approve},
        f"{one}/reject": {"POST": reject},
        f"{one}/withdraw": {"POST": withdraw},
    }


def shown_approval(view: ApprovalView) -> ShownApproval:
    """Return what is shown of a request."""
    return ShownApproval(
        id=view.id,
        action=view.action,
        resource=view.resource,
        status=view.status.value,
        approvals=[ShownYes(given.approver, rfc3339(given.approved_at)) for given in view.approvals],
        quorum=view.quorum,
        expires_at=rfc3339(view.expires_at),
        payload=view.payload,
        digest=view.digest,
        version=view.version,
        maker=view.maker,
        created_at=rfc3339(view.created_at),
        decided_at=None if view.decided_at is None else rfc3339(view.decided_at),
        decided_by=view.decided_by,
        reason=view.reason,
        execution=None if view.execution is None else view.execution.value,
        failure=view.failure,
    )


def accepted_answer(view: ApprovalView, scope: Mapping[str, Any]) -> Response:
    """Answer 202: it was asked for, and is done when enough have said yes (RFC 9110, section 15.3.3)."""
    answer = json_answer(shown_approval(view), 202)
    answer.headers["Location"] = f"{scope.get('root_path', '')}{PATH}/{view.id}"
    return answer


def _principal(request: Request) -> Principal:
    """Return whom the request is attributed to: also somebody of another issuer, who may have asked for something."""
    # Not ``request.user``: other middleware inside the guard may have written its own there.
    return state_of(request.scope).principal


def _id(request: Request) -> str:
    return str(request.path_params["id"])


def _box(request: Request) -> Box:
    name = parameter(request, "box") or Box.INBOX.value
    try:
        return Box(name)
    except ValueError:
        message = f"A box is one of {', '.join(box.value for box in Box)}."
        raise InvalidInput(message, errors=[InputFault(("query", "box"), "invalid_value", message)]) from None


# --- the schema

_OPTIONAL_TIME: Final = {"type": ["string", "null"], "format": "date-time"}
_OPTIONAL_TEXT: Final = {"type": ["string", "null"]}
_APPROVAL: Final = object_of(
    {
        "id": text(format="uuid"),
        "action": text(),
        "resource": _OPTIONAL_TEXT,
        "status": text(enum=[status.value for status in ApprovalStatus]),
        "approvals": array(object_of({"approver": text(format="uuid"), "approved_at": text(format="date-time")})),
        "quorum": {"type": "integer", "minimum": 1},
        "expires_at": text(format="date-time"),
        "payload": {"type": "object", "additionalProperties": True},
        "digest": text(pattern="^[0-9a-f]{64}$"),
        "version": _OPTIONAL_TEXT,
        "maker": text(),
        "created_at": text(format="date-time"),
        "decided_at": _OPTIONAL_TIME,
        "decided_by": _OPTIONAL_TEXT,
        "reason": _OPTIONAL_TEXT,
        "execution": {"type": ["string", "null"], "enum": [*(state.value for state in ExecutionState), None]},
        "failure": _OPTIONAL_TEXT,
    }
)
_SEEN: Final = {"type": ["string", "null"], "pattern": "^[0-9a-fA-F]{64}$"}
_ID: Final = described_parameter("id", text(format="uuid"), where="path")
_BOX: Final = described_parameter("box", text(enum=[box.value for box in Box], default=Box.INBOX.value))
_DECIDING: Final = (401, 403, 404, 409, *BODY_PROBLEMS, 503)


def approval_paths() -> Paths:
    """Describe the routes."""
    one = f"{PATH}/{{id}}"
    yes = object_of({"digest": _SEEN}, "digest")
    no = object_of({"reason": text(minLength=1, maxLength=500), "digest": _SEEN}, "digest")

    def deciding(summary: str, body: Mapping[str, Any], *, required: bool = False) -> dict[str, Any]:
        return {
            "post": operation(
                summary,
                {200: _APPROVAL},
                *_DECIDING,
                parameters=(_ID,),
                body=body,
                body_required=required,
                security=BEARER,
            )
        }

    return {
        PATH: {
            "get": operation(
                "What waits for my approval, or what I have asked for",
                {200: listed(_APPROVAL)},
                401,
                403,
                422,
                503,
                parameters=(_BOX, *PAGE),
                security=BEARER,
            )
        },
        one: {
            "get": operation("One request", {200: _APPROVAL}, 401, 404, 503, parameters=(_ID,), security=BEARER),
        },
        f"{one}/approve": deciding("Approve a request", yes),
        f"{one}/reject": deciding("Reject a request", no, required=True),
        f"{one}/withdraw": deciding("Withdraw my request", object_of({})),
    }
