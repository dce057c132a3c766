"""What every process has to know of the changes that others make: what roles give, and whose roles changed."""

import logging
from collections.abc import Callable
from typing import Final

from limen.authn.changed_roles import ChangedRoles
from limen.authz.roles import RoleCatalogue
from limen.core.errors import ConfigurationError
from limen.features.roles.catalogue import catalogue_of, unusable
from limen.features.roles.store import RoleStore

_log = logging.getLogger(__name__)

POLL_OVERLAP_MS: Final = 10_000
"""Commits are not ordered by their timestamps: each poll reads this much of the past again."""


class RoleWatch:
    """Follows the roles in the database.

    Args:
        store: where the roles are.
        changed: what this process knows of accounts whose roles changed.
        use: told the catalogue whenever it is another one.
    """

    def __init__(self, store: RoleStore, changed: ChangedRoles, use: Callable[[RoleCatalogue], None]) -> None:
        self._store = store
        self._changed = changed
        self._use = use
        self._polled_until = 0
        self._version: int | None = None
        self._fault: str | None = None
        self._begun = self._done = 0

    async def catch_up(self) -> None:
        """Read whose roles changed since the last time, here or elsewhere; read the roles anew where they changed.

        Where what is stored cannot be used, what was read before stays in use, and `require_usable` tells.
        """
        self._begun += 1
        mine = self._begun
        changes = await self._store.changed_since(self._polled_until)
        if mine < self._done:
            return  # one that began later has been read already: this is older
        self._done = mine
        for each in changes.accounts:
            self._changed.note(each.account_id, each.roles, each.keep_until)
            self._polled_until = max(self._polled_until, each.changed_at - POLL_OVERLAP_MS)
        if changes.version != self._version:
            await self._load(mine)

    async def _load(self, mine: int) -> None:
        snapshot = await self._store.read(committed=True)
        if mine < self._done:
            return
        try:
            catalogue = catalogue_of(snapshot)
        except ConfigurationError as error:
            if self._fault != str(error):
                _log.error(
                    "the roles in the database cannot be used; those of before stay", extra={"fault": str(error)}
                )
            self._fault = str(error)
            return
        self._version, self._fault = snapshot.version, None
        self._use(catalogue)

    def require_usable(self) -> None:
        """Return where the roles in use are those in the database.

        Raises:
            Unavailable: what is stored cannot be used.
        """
        if self._fault is not None:
            raise unusable()
