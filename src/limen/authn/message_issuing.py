"""The door for messages: the only way to the token of a message; see `limen.authn.issuing`.

Nothing is inserted: the token is asked for its account again wherever it is presented (`limen.authn.message`), so it is
worth no more than the account is at that moment.
"""

from dataclasses import dataclass, field

from limen.authn.issuing import Door, Grant, Proof
from limen.authn.message_records import MessageIssuingStore
from limen.core.principal import Principal
from limen.crypto.message_claims import message_claims


@dataclass(frozen=True, slots=True)
class NewMessage:
    """What a token is to be bound to.

    Attributes:
        audience: whom the message is for.
        body: the message itself.
        ttl: how many seconds it may lie.
    """

    audience: str
    body: bytes = field(repr=False)
    ttl: int


class MessageDoor:
    """Issues the tokens of messages.

    Args:
        store: the conditional statement.
        door: signs.
        issuer: the exact ``iss``.
    """

    def __init__(self, store: MessageIssuingStore, door: Door, *, issuer: str) -> None:
        self._store = store
        self._door = door
        self._issuer = issuer

    async def issue(self, proof: Proof, message: NewMessage) -> str | None:
        """Issue a token that stands for a service; None where the account, as it is now, must not have one.

        Args:
            proof: of the grant ``message``: which service, and its epoch as it was read.
            message: what it is bound to.

        Raises:
            ValueError: another grant, or a message that no consumer would accept.
            Unavailable: there is no key to sign with, or the database does not answer.
        """
        if proof.grant is not Grant.MESSAGE:
            raise ValueError(f"the grant {proof.grant} is not {Grant.MESSAGE}")
        now_ms = await self._store.attest(proof.account_id, epoch=proof.account_epoch)
        if now_ms is None:
            return None
        return self._signed(proof.account_id, None, proof.account_epoch, message, now_ms)

    def issue_of_session(self, principal: Principal, message: NewMessage, *, now_ms: int) -> str:
        """Issue a token that stands for a person, for as long as their session lives.

        The caller has asked for session and account on one fresh row, as for a token that is stated again.

        Args:
            principal: the person, with the session.
            message: what it is bound to.
            now_ms: milliseconds since 1970 UTC.

        Raises:
            ValueError: there is no session, or a message that no consumer would accept.
            Unavailable: there is no key to sign with.
        """
        if principal.sid is None:
            raise ValueError("a message stands for a person by a session")
        return self._signed(principal.sub, principal.sid, None, message, now_ms)

    def _signed(self, sub: str, sid: str | None, epoch: int | None, message: NewMessage, now_ms: int) -> str:
        claims = message_claims(
            issuer=self._issuer,
            audience=message.audience,
            sub=sub,
            sid=sid,
            epoch=epoch,
            body=message.body,
            iat=now_ms // 1000,
            ttl=message.ttl,
        )
        return self._door.sign_message(claims)
