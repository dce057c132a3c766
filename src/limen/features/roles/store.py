"""What the roles ask of a database."""

from collections.abc import Mapping
from typing import Protocol

from limen.core.events import Event


class RoleStore(Protocol):
    """Roles in a database."""

    async def sync(self, roles: Mapping[str, frozenset[str]], event: Event) -> bool:
        """Make the stored roles of code be exactly these (name to permissions), in one transaction.

        True, with the event written, where something differed; assignments to accounts are not touched. Safe when two
        processes start at once.
        """
        ...

    async def all(self) -> Mapping[str, frozenset[str]]:
        """Read every stored role and its permissions: what a process goes by that declares none itself."""
        ...
