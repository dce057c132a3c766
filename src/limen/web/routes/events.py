"""``/admin/api/events``: the audit trail."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authz.administration import Administration
from limen.core.events import EventName
from limen.features.events.service import EventService, RecordView
from limen.web.routes.endpoint import Routes, endpoint, principal_of
from limen.web.routes.lists import asked, list_answer, parameter, rfc3339
from limen.web.routes.schema import BEARER, GUARDED, PAGE, Paths, listed, object_of, operation, text
from limen.web.routes.schema import parameter as described
from limen.web.starlette import live, permissions


class ShownEvent(msgspec.Struct):
    """One record of the audit trail."""

    seq: int
    time: str
    event: str
    actor: str
    source: str
    target: str
    outcome: str
    request_id: str
    data: dict[str, Any]


def shown(record: RecordView) -> ShownEvent:
    """Return what is shown of a record."""
    return ShownEvent(
        seq=record.seq,
        time=rfc3339(record.time),
        event=record.event,
        actor=record.actor,
        source=record.source,
        target=record.target,
        outcome=record.outcome,
        request_id=record.request_id,
        data=record.data,
    )


def event_routes(events: EventService, *, prefix: str) -> Routes:
    """Make the endpoint of the audit trail under ``prefix``. It is asked live, and by permission."""

    @live
    @permissions(Administration.EVENTS_READ)
    @endpoint
    async def list_events(request: Request) -> Response:
        """List the audit trail: the latest, or what follows a number."""
        principal_of(request)  # of this limen, as on every route of its own
        limit, after = asked(request)
        page = await events.page(
            limit=limit,
            after=after,
            event=parameter(request, "event") or "",
            actor=parameter(request, "actor") or "",
            target=parameter(request, "target") or "",
        )
        return list_answer([shown(record) for record in page.items], page.next)

    return {f"{prefix}/events": {"GET": list_events}}


def event_paths(prefix: str) -> Paths:
    """Describe it."""
    record = object_of(
        {
            "seq": {"type": "integer"},
            "time": text(format="date-time"),
            "event": text(),
            "actor": text(description="an account's id, `cli`, `system`, or empty"),
            "source": text(description="an address, or empty"),
            "target": text(),
            "outcome": text(enum=["success", "failure"]),
            "request_id": text(),
            "data": {"type": "object"},
        }
    )
    filters = (
        described("event", text(enum=sorted(event.value for event in EventName))),
        described("actor", text(maxLength=320)),
        described("target", text(maxLength=320)),
    )
    answers = {200: listed(record)}
    described_list = operation("The audit trail", answers, *GUARDED, 422, parameters=(*PAGE, *filters), security=BEARER)
    return {f"{prefix}/events": {"get": described_list}}
