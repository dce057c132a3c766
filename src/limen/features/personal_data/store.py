"""What an export of one's own data asks of a database."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

Row: TypeAlias = Mapping[str, Any]

MOST_ROWS = 1_000
"""Rows of one kind that an export has: nobody has more sessions, keys or identities."""


class PersonalDataStore(Protocol):
    """What lies in the tables about an account."""

    async def about(self, account_id: str) -> Mapping[str, Sequence[Row]] | None:
        """Return the rows about an account, by what they are; None where there is no account, or it was deleted.

        No secret and no hash is among them. Times are milliseconds since 1970 UTC. Of each kind there are `MOST_ROWS`
        at most, the newest.
        """
        ...
