"""Roles, where sessions are in Valkey."""

from collections.abc import Collection

from limen.core.events import Event
from limen.features.roles.store import Change, Holder, Seen
from limen.storage.sql.database import Database
from limen.storage.sql.roles import SQLRoles
from limen.storage.valkey.sessions import ValkeySessions


class ValkeyRoles(SQLRoles):
    """Implements `limen.features.roles.store.RoleStore`.

    Args:
        database: where the roles are.
        sessions: told when the cookie sessions of an account ended with a role.
    """

    def __init__(self, database: Database, sessions: ValkeySessions) -> None:
        super().__init__(database)
        self._sessions = sessions

    async def assign(
        self,
        target: Holder,
        *,
        grant: Collection[str],
        revoke: Collection[str],
        seen: Seen,
        event: Event,
        keep_ended_ms: int,
        until: int | None = None,
    ) -> Change:
        """Grant and revoke what one account holds; what ends with that leaves Valkey before it is answered."""
        change = await super().assign(
            target, grant=grant, revoke=revoke, seen=seen, event=event, keep_ended_ms=keep_ended_ms, until=until
        )
        await self._sessions.leave()
        return change
