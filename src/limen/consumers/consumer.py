"""The guard for one handler of messages: who sent it, may they, was it handled before; only then the handler runs."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from limen.authn.message import MAX_TOKEN, MessageCredential
from limen.consumers.declarations import stated_of
from limen.consumers.message import GuardedMessage, Message, Outcome, Verdict
from limen.consumers.policies import answered
from limen.core.errors import (
    ConfigurationError,
    CredentialMalformed,
    LimenError,
    MessageInDoubt,
    MessageRepeated,
)
from limen.core.principal import ANONYMOUS
from limen.features.messages.service import ATTRIBUTE, Claimed, MessageService
from limen.guard import decide

MAX_CONSUMER = 128
HANDLER_FAILED = "handler_failed"
UNEXPECTED = "internal_error"

_log = logging.getLogger(__name__)


class Gate(Protocol):
    """What a consumer needs of a `Limen`."""

    @property
    def messages(self) -> MessageService:
        """Sends and receives messages."""
        ...


class Consumer:
    """Guards one handler.

    Args:
        gate: the application's `Limen`.
        handler: called with a `GuardedMessage`; a coroutine function, or a plain one, which runs in a thread. What it
            states with the decorators of `limen.consumers` must hold; without any, somebody must be authenticated.
        audience: whom messages have to be for: exactly what the sender named.
        name: tells consumers apart that are handed the same message for work of their own; the audience where it is
            not given.

    Raises:
        ConfigurationError: there is no gate, or what the handler states contradicts itself.
    """

    def __init__(self, gate: Gate, handler: Callable[..., Any], *, audience: str, name: str | None = None) -> None:
        messages = getattr(gate, "messages", None)
        if not isinstance(messages, MessageService):
            raise ConfigurationError("A consumer needs a gate (Limen): without one nobody can say who sent a message.")
        if not callable(handler):
            raise ConfigurationError("The handler of messages is a function.")
        self.name = audience if name is None else name
        if not 0 < len(self.name) <= MAX_CONSUMER:
            raise ConfigurationError(f"The name of a consumer has 1 to {MAX_CONSUMER} characters; give it by name=.")
        self._gate = gate
        self._messages = messages
        self._audience = audience
        self._handler = handler
        self._stated = stated_of(handler)
        self._is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - what a call of the object runs
        )
        messages.listen(audience)

    async def handle(self, message: Message) -> Outcome:
        """Handle a message if it may be, and say what became of it. It raises nothing but a cancellation."""
        try:
            credential = await self._credential(message)
            guarded = self._guarded(message, credential)
        except LimenError as error:
            return self._ended(message, error)
        except Exception as error:
            # Whatever went wrong while deciding is a no; the message comes again.
            _log.exception("a message could not be judged", extra={"message_id": message.id})
            return Outcome(Verdict.DEFERRED, message, UNEXPECTED, "The message could not be judged.", error=error)
        decision = decide(self._stated.requirement, guarded.principal)
        if not decision:
            _log.warning("message refused", extra={"code": decision.code, "message_id": message.id})
            return Outcome(Verdict.REFUSED, message, decision.code, decision.reason, guarded.principal)
        try:
            guarded = await answered(self._gate, self._stated.requirement, guarded)
        except Exception as error:
            return self._unanswered(message, guarded, error)
        if self._stated.once and credential is not None:
            return await self._handle_once(guarded, message, credential)
        return await self._run(guarded, message)

    async def _credential(self, message: Message) -> MessageCredential | None:
        token = token_in(message)
        if token is None:
            return None
        requirement = self._stated.requirement
        return await self._messages.verify(token, message.body, audience=self._audience, live=requirement.live)

    def _guarded(self, message: Message, credential: MessageCredential | None) -> GuardedMessage:
        if credential is None:
            return GuardedMessage(message.body, message.attributes, message.id, principal=ANONYMOUS)
        return GuardedMessage(
            message.body,
            message.attributes,
            message.id,
            principal=credential.principal,
            jti=credential.jti,
            _claim=partial(self._claim_with_work, credential),
        )

    async def _claim_with_work(self, credential: MessageCredential) -> None:
        claimed = await self._messages.claim_with_work(credential, consumer=self.name)
        if claimed is not Claimed.NEW:
            raise MessageRepeated() if claimed is Claimed.DONE else MessageInDoubt()

    async def _handle_once(self, guarded: GuardedMessage, message: Message, credential: MessageCredential) -> Outcome:
        """Record first, then work: what ends in between is never done twice, and is told to be in doubt."""
        try:
            claimed = await self._messages.claim(credential, consumer=self.name)
        except LimenError as error:
            return self._ended(message, error)
        except ConfigurationError as error:
            _log.exception("a message could not be recorded", extra={"message_id": message.id})
            return Outcome(Verdict.DEFERRED, message, UNEXPECTED, str(error), guarded.principal, error)
        if claimed is not Claimed.NEW:
            return self._ended(message, MessageRepeated() if claimed is Claimed.DONE else MessageInDoubt())
        outcome = await self._run(guarded, message)
        if outcome.verdict is Verdict.HANDLED:
            try:
                await self._messages.finish(credential, consumer=self.name)
            except LimenError as error:
                # The work is done, and the message is deleted; only a copy of it would be called in doubt.
                _log.warning("the end of a message was not noted", extra={"code": error.code, "jti": credential.jti})
        return outcome

    async def _run(self, guarded: GuardedMessage, message: Message) -> Outcome:
        try:
            if self._is_async:
                await self._handler(guarded)
            else:
                answer = await asyncio.to_thread(self._handler, guarded)
                if isinstance(answer, Awaitable):
                    await answer
        except LimenError as error:
            return self._ended(message, error, guarded)
        except Exception as error:
            _log.exception("the handler of a message failed", extra={"consumer": self.name, "message_id": message.id})
            reason = f"The handler raised {type(error).__name__}."
            return Outcome(Verdict.FAILED, message, HANDLER_FAILED, reason, guarded.principal, error)
        return Outcome(Verdict.HANDLED, message, principal=guarded.principal)

    def _unanswered(self, message: Message, guarded: GuardedMessage, error: Exception) -> Outcome:
        """Return what becomes of a message that policies do not allow, or that they could not be asked about."""
        if isinstance(error, LimenError):
            return replace(self._ended(message, error), principal=guarded.principal)
        _log.error("policies could not be asked about a message", exc_info=error, extra={"message_id": message.id})
        reason = "The policies could not be asked."
        return Outcome(Verdict.DEFERRED, message, UNEXPECTED, reason, guarded.principal, error)

    def _ended(self, message: Message, error: LimenError, guarded: GuardedMessage | None = None) -> Outcome:
        if isinstance(error, MessageRepeated):
            verdict = Verdict.REPEATED
        elif isinstance(error, MessageInDoubt):
            verdict = Verdict.IN_DOUBT
        else:
            # 5xx is about this moment; everything else is about the message.
            verdict = Verdict.DEFERRED if error.status >= 500 else Verdict.REFUSED
        level = logging.INFO if verdict is Verdict.REPEATED else logging.WARNING
        _log.log(level, "message not handled", extra={"code": error.code, "verdict": verdict, "message_id": message.id})
        principal = None if guarded is None else guarded.principal
        return Outcome(verdict, message, error.code, error.detail or error.title, principal, error)


def token_in(message: Message) -> str | None:
    """Return the token that a message bears; None for none.

    Raises:
        CredentialMalformed: two of them, in whatever spelling of the name, or something that is no text.
    """
    found: list[object] = []
    for name, value in message.pairs:
        if str(name).casefold() == ATTRIBUTE:
            found.append(value)
    if not found:
        return None
    # Which of two counts would depend on who reads.
    if len(found) > 1:
        raise CredentialMalformed(f"There must be one attribute {ATTRIBUTE}.")
    value = found[0]
    if isinstance(value, bytes) and len(value) <= MAX_TOKEN:
        value = value.decode("ascii", "replace")
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TOKEN:
        raise CredentialMalformed(f"The attribute {ATTRIBUTE} is no token, or too large.")
    return value
