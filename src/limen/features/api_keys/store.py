"""What API keys ask of a database, but for issuing them (`limen.authn.api_key_records`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from limen.authn.api_key_records import KeyState
from limen.authz.authority import Authority
from limen.core.events import Event


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is listed. Times are milliseconds since 1970 UTC.

    One that is unconfirmed came back with a restored database, and opens nothing until somebody confirms it.
    """

    id: str
    name: str
    scopes: tuple[str, ...] | None
    networks: tuple[str, ...] | None
    created_at: int
    rotated_at: int
    expires_at: int
    last_used_at: int | None
    rotations: int
    created_by: str
    unconfirmed: bool = False


class ApiKeyStore(Protocol):
    """API keys in a database."""

    async def look_up(self, key_id: str) -> KeyState | None:
        """Read the key, its owner and the owner's roles, in one statement; None where there is no such key."""
        ...

    async def of_account(self, account_id: str, *, limit: int, after: str | None) -> Sequence[StoredKey]:
        """List at most ``limit`` keys of the account that are not revoked, the newest first, that follow ``after``."""
        ...

    async def revoke(
        self,
        key_id: str,
        *,
        account_id: str,
        event: Event,
        keep_ended_ms: int,
        authority: Authority | None = None,
    ) -> bool:
        """End the key if it is this account's and not revoked, both of its secrets, and list it as ended.

        The event is written with it. False, and nothing written, otherwise. Raises AuthorityMoved, with nothing
        changed, where the authority holds no longer.
        """
        ...

    async def confirm(self, key_id: str, *, account_id: str, event: Event, authority: Authority | None = None) -> bool:
        """Let a key that came back with a restored database be used again, if it is this account's and not revoked.

        The event is written with it, unless it was confirmed already. False, and nothing written, where there is no
        such key. Raises AuthorityMoved, with nothing changed, where the authority holds no longer.
        """
        ...

    async def touch(self, key_id: str, *, at_most_every_ms: int) -> bool:
        """Note that the key is used now, unless it was noted within this time; True where it was noted."""
        ...
