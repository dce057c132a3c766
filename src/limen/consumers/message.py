"""A message as it came, as a handler is given it, and what became of it. Nothing here knows a queue."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from limen.core.errors import ConfigurationError, LimenError
from limen.core.principal import Principal
from limen.guard.requirements import Question, Requirement

Attributes: TypeAlias = Mapping[str, object] | Sequence[tuple[str, object]]
"""Attributes of a message: a mapping, or pairs where the queue allows a name twice."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it came: nothing is known of it yet.

    Attributes:
        body: byte for byte as it was sent.
        attributes: what travels beside it.
        id: what the queue calls it, for the log and for answers; not to be believed.
    """

    body: bytes = field(repr=False)
    attributes: Attributes = field(default=(), repr=False)
    id: str = ""

    @property
    def pairs(self) -> Sequence[tuple[str, object]]:
        """The attributes as pairs."""
        attributes = self.attributes
        return tuple(attributes.items()) if isinstance(attributes, Mapping) else attributes


@dataclass(frozen=True, slots=True)
class GuardedMessage(Message):
    """A message that may be handled: only a `Consumer` makes these.

    Attributes:
        principal: whom it stands for; the anonymous principal for a public handler's message without a token.
        jti: the id of its token; empty without one.
        resource: what the handler's ``policy(…, load=…)`` has loaded; None without one.
    """

    principal: Principal = field(kw_only=True)
    jti: str = field(default="", kw_only=True)
    resource: Any = field(default=None, kw_only=True, repr=False, compare=False)
    _claim: Callable[[], Awaitable[None]] | None = field(default=None, kw_only=True, repr=False, compare=False)
    _answers: frozenset[Question] = field(default=frozenset(), kw_only=True, repr=False, compare=False)
    _denial: Callable[[Requirement], LimenError | None] | None = field(
        default=None, kw_only=True, repr=False, compare=False
    )

    async def claim(self) -> None:
        """Record, in the application's transaction, that this message is handled.

        To be called in a block of ``gate.using(connection)``, with the work: both are committed, or neither.

        Raises:
            MessageRepeated: it was handled before. Let it pass through: the transaction is then rolled back.
            MessageInDoubt: a handler under ``@once`` of the same consumer has begun with it.
            ConfigurationError: outside of such a block, or the message has no token.
            Unavailable: the database does not answer.
        """
        if self._claim is None:
            raise ConfigurationError("Only a message with a token is told from others: this one has none.")
        await self._claim()


class Verdict(StrEnum):
    """What became of a message. The adapter decides what it does with it; none is ever dropped in silence.

    ``handled``, ``repeated``: its work is done; it may be deleted. ``refused``: it must not be handled, now or later.
    ``failed``: the handler raised. ``in_doubt``: somebody has begun with it, and no end is known. ``deferred``: nobody
    can tell at this moment; it has to come again.
    """

    HANDLED = "handled"
    REPEATED = "repeated"
    REFUSED = "refused"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message, and why.

    Attributes:
        verdict: what became of it.
        message: as it came: nothing of it is lost.
        code: the code of the error catalogue, or ``handler_failed``; empty where it was handled.
        reason: one sentence.
        principal: whom it stands for, where that was found out.
        error: what the handler raised.
    """

    verdict: Verdict
    message: Message
    code: str = ""
    reason: str = ""
    principal: Principal | None = None
    error: Exception | None = field(default=None, repr=False)

    @property
    def is_over(self) -> bool:
        """Tell whether the work is done, so that the message may be deleted."""
        return self.verdict in {Verdict.HANDLED, Verdict.REPEATED}
