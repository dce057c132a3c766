"""Records of Amazon Kinesis: read in order, guarded, handled, and passed only after that.

A record has no attributes, so the token goes before the body: ``limen1 <token>``, a line feed, and the body byte for
byte. A record that cannot be handled holds up its shard for a few attempts and is then handed back: never dropped, and
never in the way for ever.
"""

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from limen.authn.message import MAX_TOKEN
from limen.consumers.aws import call, client_for, retry_seconds
from limen.consumers.consumer import Consumer
from limen.consumers.message import Message, Outcome, Verdict
from limen.core.errors import ConfigurationError
from limen.features.messages.service import ATTRIBUTE

__all__ = ["Checkpoints", "HandBack", "KinesisConsumer", "MemoryCheckpoints", "sealed", "unsealed"]

MARK: Final = b"limen1 "
"""What a record with a token begins with."""
END: Final = "SHARD_END"
"""What is noted of a shard that was closed and read to its end."""

_log = logging.getLogger(__name__)

HandBack = Callable[[Outcome], Awaitable[None]]
"""Takes what is not handled, for good: it writes it to a queue, a table, a file. Where it raises, the record stays."""


class Checkpoints(Protocol):
    """Where a consumer is in each shard; it has to outlive the process."""

    async def load(self, stream: str, shard: str) -> str | None:
        """Return the number of the last record that was passed; None at the beginning."""
        ...

    async def save(self, stream: str, shard: str, sequence: str) -> None:
        """Note it; it is on the disk when this returns."""
        ...


class MemoryCheckpoints:
    """Checkpoints that end with the process: the next one begins with the oldest record that the stream still has."""

    def __init__(self) -> None:
        self._passed: dict[tuple[str, str], str] = {}

    async def load(self, stream: str, shard: str) -> str | None:
        """Return the number of the last record that was passed; None at the beginning."""
        return self._passed.get((stream, shard))

    async def save(self, stream: str, shard: str, sequence: str) -> None:
        """Note it."""
        self._passed[stream, shard] = sequence


class KinesisConsumer:
    """Handles the records of a stream, each shard in its order. One process reads a stream: there are no leases.

    Args:
        consumer: guards the handler.
        stream: the name of the stream.
        checkpoints: where it is.
        hand_back: takes what is refused at once, and what failed or is in doubt after the attempts.
        client: of boto3, for Kinesis; None makes one by boto3's own settings.
        attempts: how often a record is tried before it is handed back. What could not be judged, since a database did
            not answer, is tried for ever.
        batch: records that are read at once, 1 to 10 000.
        pause: seconds between two looks into a shard that had nothing.

    Raises:
        ConfigurationError: a number out of range, or boto3 is not installed and no client is given.
    """

    def __init__(
        self,
        consumer: Consumer,
        *,
        stream: str,
        checkpoints: Checkpoints,
        hand_back: HandBack,
        client: Any = None,
        attempts: int = 3,
        batch: int = 100,
        pause: float = 1.0,
    ) -> None:
        if attempts < 1 or not 1 <= batch <= 10_000 or pause <= 0:
            raise ConfigurationError("Kinesis: attempts from 1, batch 1 to 10000, pause above 0.")
        self._consumer = consumer
        self._stream = stream
        self._checkpoints = checkpoints
        self._hand_back = hand_back
        self._client = client_for("kinesis") if client is None else client
        self._most_attempts = attempts
        self._batch = batch
        self._pause = pause
        self._attempts: dict[tuple[str, str], int] = {}
        self._iterators: dict[str, str] = {}

    async def run(self, stop: asyncio.Event | None = None) -> None:
        """Handle records until the event is set, or until the task is cancelled.

        Where the stream does not answer, it is asked again after 1 to 30 seconds.
        """
        failures = 0
        while stop is None or not stop.is_set():
            try:
                outcomes = await self.poll()
                failures = 0
                moved = any(outcome.is_over for outcome in outcomes)
                await asyncio.sleep(0 if moved else self._pause)
            except Exception:
                failures += 1
                self._iterators.clear()
                _log.exception("the stream could not be read; it is tried again", extra={"failures": failures})
                await asyncio.sleep(retry_seconds(failures))

    async def poll(self) -> Sequence[Outcome]:
        """Look once into each shard, parents before children, and say what became of each record that was tried.

        Raises:
            Exception: of boto3 or of the checkpoints: nothing that was not noted is passed.
        """
        shards = await self._shards()
        passed = {shard["ShardId"]: await self._place(shard["ShardId"]) for shard in shards}
        outcomes: list[Outcome] = []
        for shard in shards:
            shard_id = shard["ShardId"]
            parents = [shard.get("ParentShardId"), shard.get("AdjacentParentShardId")]
            waits = any(parent in passed and passed[parent] != END for parent in parents)
            if passed[shard_id] != END and not waits:
                outcomes += await self._read(shard_id, passed[shard_id])
        return outcomes

    async def _shards(self) -> list[dict[str, Any]]:
        answer = await call(self._client.list_shards, StreamName=self._stream)
        shards: list[dict[str, Any]] = answer["Shards"]
        while answer.get("NextToken"):
            answer = await call(self._client.list_shards, NextToken=answer["NextToken"])
            shards += answer["Shards"]
        return shards

    async def _place(self, shard: str) -> str | None:
        return await self._checkpoints.load(self._stream, shard)

    async def _read(self, shard: str, passed: str | None) -> list[Outcome]:
        iterator = self._iterators.pop(shard, None) or await self._iterator(shard, passed)
        answer = await call(self._client.get_records, ShardIterator=iterator, Limit=self._batch)
        outcomes: list[Outcome] = []
        for record in answer["Records"]:
            outcome, is_passed = await self._handle(shard, record)
            outcomes.append(outcome)
            if not is_passed:
                return outcomes  # the next look begins at this one again
            await self._checkpoints.save(self._stream, shard, record["SequenceNumber"])
        following = answer.get("NextShardIterator")
        if following is None:
            await self._checkpoints.save(self._stream, shard, END)
        else:
            self._iterators[shard] = following
        return outcomes

    async def _iterator(self, shard: str, passed: str | None) -> str:
        where: dict[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
        if passed is not None:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": passed}
        answer = await call(self._client.get_shard_iterator, StreamName=self._stream, ShardId=shard, **where)
        return str(answer["ShardIterator"])

    async def _handle(self, shard: str, record: Mapping[str, Any]) -> tuple[Outcome, bool]:
        """Handle one record; answer whether the shard may go on behind it."""
        place = shard, record["SequenceNumber"]
        outcome = await self._consumer.handle(unsealed(record["Data"], record["SequenceNumber"]))
        if outcome.is_over:
            self._attempts.pop(place, None)
            return outcome, True
        if outcome.verdict is Verdict.DEFERRED:
            return outcome, False
        if outcome.verdict is not Verdict.REFUSED:
            self._attempts[place] = self._attempts.get(place, 0) + 1
            if self._attempts[place] < self._most_attempts:
                return outcome, False
        is_taken = await self._handed_back(outcome)
        if is_taken:
            self._attempts.pop(place, None)
        return outcome, is_taken

    async def _handed_back(self, outcome: Outcome) -> bool:
        try:
            await self._hand_back(outcome)
        except Exception:
            _log.exception("a record could not be handed back", extra={"message_id": outcome.message.id})
            return False
        return True

    async def handle_event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Handle the event that AWS Lambda is called with; answer the first record that is to come again.

        The event source has to report partial failures (``ReportBatchItemFailures``): AWS then begins at that record
        again. How often, and what becomes of it then, is the event source's to say (``MaximumRetryAttempts``, an
        on-failure destination); what is refused is handed back at once.

        Args:
            event: ``{"Records": [{"kinesis": {"data": base64, "sequenceNumber"}}]}``.

        Returns:
            ``{"batchItemFailures": [{"itemIdentifier": …}]}`` with at most one entry.
        """
        for each in event["Records"]:
            record = each["kinesis"]
            sequence = record["sequenceNumber"]
            outcome = await self._consumer.handle(unsealed(base64.b64decode(record["data"]), sequence))
            is_passed = outcome.is_over or (outcome.verdict is Verdict.REFUSED and await self._handed_back(outcome))
            if not is_passed:
                return {"batchItemFailures": [{"itemIdentifier": sequence}]}
        return {"batchItemFailures": []}


def sealed(body: bytes | str, attributes: Mapping[str, str]) -> bytes:
    """Return the data of a record: the token of ``gate.messages.attributes(…)``, and the body.

    Raises:
        ConfigurationError: there is no token, or an attribute beside it: a record has no place for one.
    """
    if attributes.keys() != {ATTRIBUTE}:
        raise ConfigurationError(f"A record takes the attribute {ATTRIBUTE} and no other.")
    content = body.encode() if isinstance(body, str) else body
    return MARK + attributes[ATTRIBUTE].encode("ascii") + b"\n" + content


def unsealed(data: bytes, sequence: str) -> Message:
    """Return what a record holds; one without a token is a message without one, which most handlers refuse."""
    if not data.startswith(MARK):
        return Message(data, (), sequence)
    line, line_feed, body = data[len(MARK) :].partition(b"\n")
    if not line_feed or len(line) > MAX_TOKEN:
        # Malformed, and not missing: it claims to have one. The whole record is handed back, byte for byte.
        return Message(data, ((ATTRIBUTE, b""),), sequence)
    return Message(body, ((ATTRIBUTE, line),), sequence)
