"""``/auth/ended``: which sessions ended, for services that verify tokens elsewhere."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authz.administration import Administration
from limen.features.sessions.feed import EndedFeed
from limen.web.routes.endpoint import Routes, endpoint, json_answer, principal_of
from limen.web.routes.lists import parameter, rfc3339
from limen.web.routes.schema import BEARER, GUARDED, Paths, array, object_of, operation, text
from limen.web.routes.schema import parameter as described
from limen.web.starlette import permissions


class ShownEnded(msgspec.Struct):
    """One ended session, and until when tokens of it may be alive."""

    sid: str
    keep_until: str


class ShownPart(msgspec.Struct):
    """A part of the list: ``next`` is where to ask from, at once where there is ``more``."""

    items: list[ShownEnded]
    next: str
    more: bool


def ended_routes(feed: EndedFeed, *, prefix: str) -> Routes:
    """Make the endpoint under ``prefix``. It is for whoever holds the permission, mostly a service by its API key."""

    @permissions(Administration.SESSIONS_WATCH)
    @endpoint
    async def ended(request: Request) -> Response:
        """Tell which sessions ended since a place in the list: no account, no reason, only ids."""
        principal_of(request)  # of this limen, as on every route of its own
        part = await feed.after(parameter(request, "after"))
        # A second later than it is kept, since parts of seconds are cut off.
        items = [ShownEnded(each.sid, rfc3339(each.keep_until + 999)) for each in part.items]
        return json_answer(ShownPart(items, part.next, part.more))

    return {f"{prefix}/ended": {"GET": ended}}


def ended_paths(prefix: str) -> Paths:
    """Describe it."""
    item = object_of({"sid": text(format="uuid"), "keep_until": text(format="date-time")})
    part = object_of({"items": array(item), "next": text(), "more": {"type": "boolean"}})
    place = described("after", text(maxLength=320, description="`next` of the answer before"))
    answers = {200: part}
    asked = operation("Which sessions ended", answers, *GUARDED, 422, parameters=(place,), security=BEARER)
    return {f"{prefix}/ended": {"get": asked}}
