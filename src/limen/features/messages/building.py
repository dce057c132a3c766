"""Messages put together: what issues their tokens, what verifies them, and the use cases."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from limen.authn.bearer import Learn
from limen.authn.ended import EndedSessions
from limen.authn.issuing import Door
from limen.authn.message import MessageTokens
from limen.authn.message_issuing import MessageDoor
from limen.authn.message_records import MessageIssuingStore
from limen.core.clock import Clock
from limen.core.principal import Principal
from limen.crypto.keys import KeySet
from limen.features.accounts.service import AccountService
from limen.features.messages.service import MessageService
from limen.features.messages.store import MessageStore
from limen.features.sessions.service import SessionService


class Messages(MessageStore, MessageIssuingStore, Protocol):
    """Both halves of the store."""


@dataclass(frozen=True, slots=True)
class Verifying:
    """How the tokens of messages are verified.

    Attributes:
        keys: with what; another set comes by `MessageService.use_keys`.
        issuer: the exact ``iss``.
        leeway: seconds beyond its end for which a token is accepted.
        ahead: seconds by which a token may come from the future.
        learn: looks for keys that are not known yet, where they can be learnt.
    """

    keys: KeySet
    issuer: str
    leeway: int
    ahead: int
    learn: Learn | None


def build_messages(
    told: Verifying,
    store: Messages,
    door: Door,
    *,
    accounts: AccountService,
    sessions: SessionService,
    ended: EndedSessions,
    changed: Mapping[str, frozenset[str]],
    permissions_of: Callable[[frozenset[str]], frozenset[str]],
    known_roles: Callable[[], frozenset[str]],
    clock: Clock,
) -> MessageService:
    """Put them together."""

    async def live_roles(principal: Principal) -> frozenset[str]:
        return (await sessions.live_state(principal)).roles

    tokens = MessageTokens(
        told.keys,
        issuer=told.issuer,
        services=store,
        live_roles=live_roles,
        ended=ended,
        changed=changed,
        permissions_of=permissions_of,
        known_roles=known_roles,
        clock=clock,
        leeway=told.leeway,
        ahead=told.ahead,
        learn=told.learn,
    )
    return MessageService(
        store,
        MessageDoor(store, door, issuer=told.issuer),
        tokens,
        accounts=accounts,
        live_roles=live_roles,
        clock=clock,
    )
