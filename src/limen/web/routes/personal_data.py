"""``/auth/me/export``: one's own data."""

from starlette.requests import Request
from starlette.responses import Response

from limen.features.personal_data.service import PersonalDataService
from limen.features.throttling.requests import Purpose, RequestThrottle
from limen.web.routes.endpoint import Routes, endpoint, json_answer, origin_of, principal_of
from limen.web.routes.schema import BEARER, Paths, Schema, array, object_of, operation, text
from limen.web.starlette import interactive, live

_ROWS: Schema = array({"type": "object"})


def personal_data_routes(data: PersonalDataService, throttle: RequestThrottle, *, prefix: str) -> Routes:
    """Make the endpoint of one's own data under ``prefix``."""

    @live
    @interactive
    @endpoint
    async def export(request: Request) -> Response:
        """Hand out everything that lies here about the caller's account."""
        principal = principal_of(request)
        await throttle.count(Purpose.EXPORT, key=principal.sub)
        answer = json_answer(await data.own(principal, origin=origin_of(request)))
        answer.headers["Content-Disposition"] = 'attachment; filename="account.json"'
        return answer

    return {f"{prefix}/me/export": {"GET": export}}


def personal_data_paths(prefix: str) -> Paths:
    """Describe it for an OpenAPI document."""
    kinds = (
        "addresses",
        "sessions",
        "api_keys",
        "certificates",
        "identities",
        "former_identities",
        "approvals_requested",
        "approvals_given",
        "approvals_decided",
        "mails",
        "events",
    )
    exported = object_of(
        {
            "exported_at": text(format="date-time"),
            "account": {"type": "object"},
            **dict.fromkeys(kinds, _ROWS),
            "events_complete": {"type": "boolean"},
        }
    )
    summary = "Everything that lies here about me"
    return {f"{prefix}/me/export": {"get": operation(summary, {200: exported}, 401, 429, 503, security=BEARER)}}
