"""``/admin/api/policies/differences``: where policies in the shadow differ from those in force."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from limen.authz.administration import Administration
from limen.core.errors import NotFound
from limen.web.routes.endpoint import Routes, endpoint, json_answer, principal_of
from limen.web.routes.lists import rfc3339
from limen.web.routes.schema import BEARER, GUARDED, Paths, array, object_of, operation, text
from limen.web.starlette import live, permissions

if TYPE_CHECKING:
    # A name only: whoever has no policies does not wait for what compiles them.
    from limen.authz.shadow import PolicyDifference, PolicyDifferences

    Differing: TypeAlias = Callable[[], PolicyDifferences | None]


class ShownSample(msgspec.Struct):
    """Somebody about whom the two did not agree."""

    kind: str
    id: str
    resource: str


class ShownDifference(msgspec.Struct):
    """A kind of difference."""

    action: str
    allowed: bool
    shadow_allowed: bool
    rule: str | None
    shadow_rule: str | None
    count: int
    first_seen: str
    last_seen: str
    samples: list[ShownSample]


class ShownDifferences(msgspec.Struct):
    """What the process that answers has seen."""

    version: str
    shadow_version: str
    since: str
    compared: int
    failures: int
    unlisted: int
    differences: list[ShownDifference]


def shown(found: "PolicyDifferences") -> ShownDifferences:
    """Return what is shown: all of it, and times as text."""
    return ShownDifferences(
        version=found.version,
        shadow_version=found.shadow_version,
        since=rfc3339(found.since),
        compared=found.compared,
        failures=found.failures,
        unlisted=found.unlisted,
        differences=[_shown(each) for each in found.differences],
    )


def _shown(difference: "PolicyDifference") -> ShownDifference:
    return ShownDifference(
        action=difference.action,
        allowed=difference.allowed,
        shadow_allowed=difference.shadow_allowed,
        rule=difference.rule,
        shadow_rule=difference.shadow_rule,
        count=difference.count,
        first_seen=rfc3339(difference.first_seen),
        last_seen=rfc3339(difference.last_seen),
        samples=[ShownSample(each.kind, each.id, each.resource) for each in difference.samples],
    )


def difference_routes(differing: "Differing", *, prefix: str) -> Routes:
    """Make the endpoint under ``prefix``. It is asked live, and by permission."""

    @live
    @permissions(Administration.POLICIES_EXPLAIN)
    @endpoint
    async def list_differences(request: Request) -> Response:
        """Say where policies in the shadow differ from those in force."""
        principal_of(request)  # of this limen, as on every route of its own
        found = differing()
        if found is None:
            raise NotFound("There are no policies in the shadow.")
        return json_answer(shown(found))

    return {f"{prefix}/policies/differences": {"GET": list_differences}}


def difference_paths(prefix: str) -> Paths:
    """Describe it."""
    boolean, number, time = {"type": "boolean"}, {"type": "integer"}, text(format="date-time")
    rule = {"type": ["string", "null"]}
    difference = object_of(
        {
            "action": text(),
            "allowed": boolean,
            "shadow_allowed": boolean,
            "rule": rule,
            "shadow_rule": rule,
            "count": number,
            "first_seen": time,
            "last_seen": time,
            "samples": array(object_of({"kind": text(), "id": text(), "resource": text()})),
        }
    )
    answer = object_of(
        {
            "version": text(),
            "shadow_version": text(),
            "since": time,
            "compared": number,
            "failures": number,
            "unlisted": number,
            "differences": array(difference),
        }
    )
    told = operation(
        "Where policies in the shadow differ from those in force", {200: answer}, *GUARDED, 404, security=BEARER
    )
    return {f"{prefix}/policies/differences": {"get": told}}
