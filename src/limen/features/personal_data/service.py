"""An export of one's own data: everything that lies here about an account, and nothing about anybody else.

General Data Protection Regulation, articles 15 and 20. There is no secret in it, and no hash of one.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from limen.core.clock import Clock
from limen.core.errors import NotFound, StepUpRequired
from limen.core.events import NOWHERE, Event, EventName, EventSink, Origin
from limen.core.ids import is_uuid7
from limen.core.principal import Principal
from limen.features.events.service import EventService, RecordView
from limen.features.personal_data.store import PersonalDataStore, Row

RECENT_SECONDS: Final = 900
"""How long ago somebody may have logged in who asks for their data."""
MOST_EVENTS: Final = 1_000
"""Records of the trail that an export has, the newest."""
MOST_PAGES: Final = 10
"""Pages of 20 000 records that are looked through for those, on each side: one's own acts, and what was done to one."""

_PAGE: Final = 200
_JSON: Final = frozenset({"scopes", "networks", "payload"})


class PersonalDataService:
    """Exports the data of an account.

    Args:
        store: what lies in the tables.
        events: the audit trail.
        record: writes the event that it was done.
        clock: the time in seconds since 1970 UTC.
    """

    def __init__(self, store: PersonalDataStore, events: EventService, *, record: EventSink, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._record = record
        self._clock = clock

    async def own(self, principal: Principal, *, origin: Origin = NOWHERE) -> dict[str, Any]:
        """Return everything about whoever asks.

        Raises:
            StepUpRequired: the login is older than `RECENT_SECONDS`: a session that was left open gives nothing away.
            NotFound: the account is gone.
            Unavailable: the database does not answer.
        """
        authentication = principal.authentication
        if authentication is None or authentication.time < self._clock() - RECENT_SECONDS:
            raise StepUpRequired("Log in once more, and ask within fifteen minutes.")
        return await self.of_account(principal.sub, actor=principal.sub, origin=origin)

    async def of_account(
        self, account_id: str, *, actor: str, origin: Origin = NOWHERE, pages: int = MOST_PAGES
    ) -> dict[str, Any]:
        """Return everything about an account, for an operator who hands it over; that it was done is recorded.

        Args:
            account_id: whose.
            actor: who asks.
            origin: where from.
            pages: how far the trail is looked through.

        Raises:
            NotFound: there is no such account, or it was deleted.
            Unavailable: the database does not answer.
        """
        found = await self._store.about(account_id) if is_uuid7(account_id) else None
        if found is None:
            raise NotFound("There is no such account.")
        events, is_complete = await self._events_of(account_id, pages)
        await self._record(Event(EventName.ACCOUNT_EXPORTED, actor=actor, target=account_id, origin=origin))
        told: dict[str, Any] = {kind: [_shown(row) for row in rows] for kind, rows in found.items()}
        account = told.pop("account")[0]
        account["roles"] = told.pop("roles")
        account["permissions"] = told.pop("permissions")
        return {
            "exported_at": _time(int(self._clock() * 1000)),
            "account": account,
            **told,
            "events": events,
            "events_complete": is_complete,
        }

    async def _events_of(self, account_id: str, pages: int) -> tuple[list[dict[str, Any]], bool]:
        found: dict[int, RecordView] = {}
        is_complete = True
        for side in ({"actor": account_id}, {"target": account_id}):
            records, whole = await self._side(side, pages)
            is_complete = is_complete and whole
            found |= {record.seq: record for record in records}
        newest = sorted(found.values(), key=lambda record: record.seq)[-MOST_EVENTS:]
        return [_event(record, account_id) for record in newest], is_complete and len(found) <= MOST_EVENTS

    async def _side(self, side: Mapping[str, str], pages: int) -> tuple[list[RecordView], bool]:
        records: list[RecordView] = []
        after: str | None = None
        looked = 0
        while looked < pages and len(records) < MOST_EVENTS:
            page = await self._events.page(limit=_PAGE, after=after, **side)
            records += page.items
            if page.next is None:
                return records, True
            # A page that is full cost little; one that is not has looked at as many records as a page may.
            looked += len(page.items) < _PAGE
            after = page.next
        return records, False


def _shown(row: Row) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in row.items()}


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name.endswith(("_at", "_until")):
        return _time(value)
    if name in _JSON:
        return json.loads(value)
    if name.startswith("is_"):
        return bool(value)
    return value


def _event(record: RecordView, me: str) -> dict[str, Any]:
    """Return a record as it concerns an account: who else took part stays untold, and where they were."""
    is_mine = record.actor in (me, "")
    return {
        "time": _time(record.time),
        "event": record.event,
        "outcome": record.outcome,
        "by": _who(record.actor, me),
        "address": record.source if is_mine else "",
        "user_agent": record.user_agent if is_mine else "",
        "data": {name: _without_others(value, me) for name, value in record.data.items()},
    }


def _who(actor: str, me: str) -> str:
    if actor == me:
        return "you"
    return {"": "nobody who had proved it", "cli": "operator", "system": "system"}.get(actor, "somebody else")


def _without_others(value: Any, me: str) -> Any:
    """Leave out ids that are not the account's: they stand for other people, or for what is theirs."""
    if isinstance(value, str):
        return "" if is_uuid7(value) and value != me else value
    if isinstance(value, list):
        return [_without_others(each, me) for each in value]
    if isinstance(value, dict):
        return {name: _without_others(each, me) for name, each in value.items()}
    return value


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
