"""Messages: a short token goes with each, and each is handled once where that is asked.

Whoever holds the gate may send in the name of any service: it holds the keys and the database as well. A request names
no service: code that takes the name from outside hands out that service's rights.
"""

from collections.abc import Mapping
from typing import Final

from limen.authn.api_key import is_by_key
from limen.authn.issuing import Grant, Proof
from limen.authn.message import LiveRoles, MessageCredential, MessageTokens
from limen.authn.message_issuing import MessageDoor, NewMessage
from limen.core.clock import Clock
from limen.core.errors import AccountNotActive, ConfigurationError, NotFound, PolicyDenied
from limen.core.events import NOWHERE
from limen.core.principal import Principal, PrincipalKind
from limen.crypto.keys import KeySet
from limen.crypto.message_claims import MESSAGE_MAX_TTL, MESSAGE_TTL, is_audience
from limen.features.accounts.service import AccountService
from limen.features.messages.store import Claimed, MessageStore

__all__ = ["ATTRIBUTE", "Claimed", "MessageService"]

ATTRIBUTE: Final = "limen-token"
"""The attribute that the token of a message travels in."""
KEEP_SECONDS: Final = 24 * 60 * 60
"""How long beyond its token's end it is remembered that a message was seen: a clock that was wrong forgets nothing."""
MOST_NAMES: Final = 1_000


class MessageService:
    """Sends and receives messages.

    Args:
        store: what was seen.
        door: issues the tokens.
        tokens: verifies them.
        accounts: finds services by their names.
        live_roles: asks for the session of a person.
        clock: the time, in seconds since 1970 UTC.
    """

    def __init__(
        self,
        store: MessageStore,
        door: MessageDoor,
        tokens: MessageTokens,
        *,
        accounts: AccountService,
        live_roles: LiveRoles,
        clock: Clock,
    ) -> None:
        self._store = store
        self._door = door
        self._tokens = tokens
        self._accounts = accounts
        self._live_roles = live_roles
        self._clock = clock
        self._epochs: dict[str, tuple[str, int]] = {}

    # --- sending

    async def attributes(
        self,
        *,
        audience: str,
        body: bytes | str,
        service: str | None = None,
        principal: Principal | None = None,
        lifetime: int = MESSAGE_TTL,
    ) -> Mapping[str, str]:
        """Return the attributes to send a message with: ``{"limen-token": …}``.

        Args:
            audience: whom it is for: the name of the queue, or of whoever handles it. Exactly that is asked there.
            body: the message, byte for byte as it will arrive; a text stands for its UTF-8 bytes.
            service: the name of the service account that sends it.
            principal: or the person in whose name it is sent; it is refused once their session is over.
            lifetime: seconds until it is refused, from its sending: 1 to 1 209 600 (14 days).

        Raises:
            ConfigurationError: not one of service and principal, or an audience or a lifetime that cannot be.
            NotFound: there is no such service.
            AccountNotActive, SessionEnded: the account must not be used, or the session is over.
            PolicyDenied: the principal is no person who has logged in.
            Unavailable: the database does not answer, or there is no key to sign with.
        """
        if (service is None) == (principal is None):
            raise ConfigurationError("A message is sent by a service or in the name of a principal: give one of them.")
        if not is_audience(audience):
            raise ConfigurationError("The audience of messages is 1 to 255 visible ASCII characters.")
        if isinstance(lifetime, bool) or not 1 <= lifetime <= MESSAGE_MAX_TTL:
            raise ConfigurationError(f"The token of a message lives 1 to {MESSAGE_MAX_TTL} seconds.")
        message = NewMessage(audience, body.encode() if isinstance(body, str) else bytes(body), lifetime)
        if principal is not None:
            return {ATTRIBUTE: await self._of_session(principal, message)}
        return {ATTRIBUTE: await self._of_service(service or "", message)}

    async def _of_session(self, principal: Principal, message: NewMessage) -> str:
        # A key may be limited to some permissions, and the token of a message is not: it would be worth more.
        if principal.kind is not PrincipalKind.PERSON or principal.sid is None or is_by_key(principal):
            raise PolicyDenied("A message is sent in the name of a person who has logged in, or by a service.")
        await self._live_roles(principal)
        return self._door.issue_of_session(principal, message, now_ms=int(self._clock() * 1000))

    async def _of_service(self, name: str, message: NewMessage) -> str:
        known = self._epochs.get(name)
        if known is not None:
            token = await self._issued(known, message)
            if token is not None:
                return token
        account = await self._accounts.by_username(name)
        if account.kind != PrincipalKind.SERVICE.value:
            raise NotFound("There is no such service.")
        token = await self._issued((account.id, account.session_epoch), message)
        if token is None:
            raise AccountNotActive()
        if len(self._epochs) >= MOST_NAMES:
            self._epochs.clear()
        self._epochs[name] = account.id, account.session_epoch
        return token

    async def _issued(self, account: tuple[str, int], message: NewMessage) -> str | None:
        return await self._door.issue(Proof(Grant.MESSAGE, *account, (), "", NOWHERE), message)

    # --- receiving

    def use_keys(self, keys: KeySet) -> None:
        """Verify with other keys from now on."""
        self._tokens.use_keys(keys)

    def listen(self, audience: str) -> None:
        """Take messages for this audience; ConfigurationError where nothing can be for it."""
        self._tokens.listen(audience)

    async def verify(self, token: str, body: bytes, *, audience: str, live: bool) -> MessageCredential:
        """Return whom a message stands for; see `limen.authn.message.MessageTokens.verify`."""
        return await self._tokens.verify(token, body, audience=audience, live=live)

    async def live(self, principal: Principal) -> Principal:
        """Return the principal of a message as it is now; see `limen.authn.message.MessageTokens.live`."""
        return await self._tokens.live(principal)

    async def claim(self, message: MessageCredential, *, consumer: str) -> Claimed:
        """Record that a consumer begins with a message; one caller is answered ``new``."""
        return await self._store.claim(message.jti, consumer=consumer, keep_until_ms=_keep_until(message))

    async def claim_with_work(self, message: MessageCredential, *, consumer: str) -> Claimed:
        """Record it in the application's transaction (`Limen.using`), with the work."""
        return await self._store.claim_with_work(message.jti, consumer=consumer, keep_until_ms=_keep_until(message))

    async def finish(self, message: MessageCredential, *, consumer: str) -> None:
        """Note that the work on a message is done."""
        await self._store.finish(message.jti, consumer=consumer)


def _keep_until(message: MessageCredential) -> int:
    return (message.expires_at + KEEP_SECONDS) * 1000
