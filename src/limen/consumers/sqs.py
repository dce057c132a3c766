"""Messages of Amazon SQS: received, guarded, handled, and deleted only after that.

What is refused goes to a dead-letter queue with the reason, or is left to the redrive policy of the queue. What failed,
is in doubt or could not be judged is left in the queue, and comes again when its visibility is over.
"""

import asyncio
import base64
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from limen.consumers.aws import call, client_for, retry_seconds
from limen.consumers.consumer import Consumer
from limen.consumers.message import Message, Outcome, Verdict
from limen.core.errors import ConfigurationError

__all__ = ["SqsConsumer", "fits", "message_attributes", "message_of"]

REASON: Final = "limen-refused"
"""The attribute in which the dead-letter queue is told the code of the refusal."""
MOST_ATTRIBUTES: Final = 10
"""Attributes that SQS takes with a message."""
MOST_BYTES: Final = 256 * 1024
"""Bytes of a message with its attributes: the bound that every queue of SQS keeps to."""
BATCH: Final = 10

_log = logging.getLogger(__name__)


class SqsConsumer:
    """Handles the messages of one queue.

    Args:
        consumer: guards the handler.
        queue_url: of the queue.
        dead_letter_url: of the queue that what is refused goes to, with the code in the attribute ``limen-refused``;
            without one it is left in the queue, whose redrive policy has to move it.
        client: of boto3, for SQS; None makes one by boto3's own settings.
        visibility: seconds that a message is out of sight; renewed at half of it for as long as its handler runs.
        wait: seconds that a look into an empty queue waits, 0 to 20.

    Raises:
        ConfigurationError: a number out of range, or boto3 is not installed and no client is given.
    """

    def __init__(
        self,
        consumer: Consumer,
        *,
        queue_url: str,
        dead_letter_url: str | None = None,
        client: Any = None,
        visibility: int = 30,
        wait: int = 20,
    ) -> None:
        if not 2 <= visibility <= 43_200 or not 0 <= wait <= 20:
            raise ConfigurationError("SQS: visibility is 2 to 43200 seconds, wait 0 to 20.")
        if dead_letter_url == queue_url:
            raise ConfigurationError("SQS: what is refused would come again; the dead-letter queue is another queue.")
        self._consumer = consumer
        self._queue_url = queue_url
        self._dead_letter_url = dead_letter_url
        self._client = client_for("sqs") if client is None else client
        self._visibility = visibility
        self._wait = wait

    async def run(self, stop: asyncio.Event | None = None) -> None:
        """Handle messages until the event is set, or until the task is cancelled. What is under way is then finished.

        Where the queue does not answer, it is asked again after 1 to 30 seconds.
        """
        failures = 0
        while stop is None or not stop.is_set():
            try:
                await self.poll()
                failures = 0
            except Exception:
                failures += 1
                _log.exception("the queue could not be read; it is tried again", extra={"failures": failures})
                await _sleep(retry_seconds(failures), stop)

    async def poll(self) -> Sequence[Outcome]:
        """Receive at most ten messages, handle them, and say what became of each.

        Messages of one group of a FIFO queue are handled one after the other, the others at the same time; after one
        that stays in the queue, those of its group are left there too.

        Raises:
            Exception: of boto3, where the queue cannot be read.
        """
        answer = await call(
            self._client.receive_message,
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=self._wait,
            VisibilityTimeout=self._visibility,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
        )
        received = answer.get("Messages", ())
        # Of all of them, also of those that wait for one of their group: what is received runs out of its time.
        beating = {raw["MessageId"]: asyncio.create_task(self._beat(raw["ReceiptHandle"])) for raw in received}

        async def each(raw: Mapping[str, Any]) -> tuple[Outcome, bool]:
            try:
                return await self._receive(raw)
            finally:
                beating[raw["MessageId"]].cancel()

        try:
            return await _in_groups(received, each, is_fifo=self._queue_url.endswith(".fifo"))
        finally:
            for task in beating.values():
                task.cancel()
            await asyncio.gather(*beating.values(), return_exceptions=True)

    async def _receive(self, raw: Mapping[str, Any]) -> tuple[Outcome, bool]:
        """Handle one; answer whether it is out of the queue. A failing call leaves it there, and raises nothing."""
        outcome = await self._consumer.handle(message_of(raw))
        try:
            is_gone = outcome.is_over or (outcome.verdict is Verdict.REFUSED and await self._hand_back(raw, outcome))
            if is_gone:
                handle = raw["ReceiptHandle"]
                await call(self._client.delete_message, QueueUrl=self._queue_url, ReceiptHandle=handle)
        except Exception:
            _log.exception("a message could not be taken out of its queue", extra={"message_id": raw["MessageId"]})
            return outcome, False
        return outcome, is_gone

    async def _beat(self, receipt: str) -> None:
        """Keep the message out of sight while its handler runs."""
        while True:
            await asyncio.sleep(self._visibility / 2)
            try:
                await call(
                    self._client.change_message_visibility,
                    QueueUrl=self._queue_url,
                    ReceiptHandle=receipt,
                    VisibilityTimeout=self._visibility,
                )
            except Exception:
                _log.warning("a message's visibility could not be renewed", exc_info=True)

    async def _hand_back(self, raw: Mapping[str, Any], outcome: Outcome) -> bool:
        """Send what is refused to the dead-letter queue, with the reason; False where there is none."""
        if self._dead_letter_url is None:
            return False
        attributes = {name: _sendable(value) for name, value in (raw.get("MessageAttributes") or {}).items()}
        with_reason = attributes | {REASON: {"DataType": "String", "StringValue": outcome.code}}
        if fits(raw["Body"], with_reason):
            attributes = with_reason
        else:
            # It is not lost for want of room: it goes as it came, and the log has the reason.
            _log.warning("no room for the reason", extra={"message_id": raw["MessageId"], "code": outcome.code})
        group = _group_of(raw)
        fifo: dict[str, str] = {}
        if self._dead_letter_url.endswith(".fifo"):
            deduplication = hashlib.sha256(str(raw["MessageId"]).encode()).hexdigest()
            fifo = {"MessageGroupId": group or "limen", "MessageDeduplicationId": deduplication}
        await call(
            self._client.send_message,
            QueueUrl=self._dead_letter_url,
            MessageBody=raw["Body"],
            MessageAttributes=attributes,
            **fifo,
        )
        return True

    async def handle_event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Handle the event that AWS Lambda is called with, and answer which messages are to come again.

        The event source has to report partial failures (``ReportBatchItemFailures``): without it, AWS takes any answer
        for success and deletes all of them. What is refused goes to the dead-letter queue where one is given.

        Args:
            event: ``{"Records": [{"messageId", "body", "messageAttributes", …}]}``.

        Returns:
            ``{"batchItemFailures": [{"itemIdentifier": …}]}``: whatever else is in the event is deleted by AWS.
        """
        records = event["Records"]
        gone: set[str] = set()

        async def each(raw: Mapping[str, Any]) -> tuple[Outcome, bool]:
            message = message_of(raw)
            outcome = await self._consumer.handle(message)
            is_gone = outcome.is_over
            if outcome.verdict is Verdict.REFUSED:
                try:
                    is_gone = await self._hand_back(raw, outcome)
                except Exception:
                    _log.exception("a refused message could not be handed back", extra={"message_id": message.id})
            if is_gone:
                gone.add(message.id)
            return outcome, is_gone

        received = [_as_received(record) for record in records]
        is_fifo = any(str(record.get("eventSourceARN", "")).endswith(".fifo") for record in records)
        await _in_groups(received, each, is_fifo=is_fifo)
        failures = [raw["MessageId"] for raw in received if raw["MessageId"] not in gone]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failures]}


def message_attributes(attributes: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return attributes as ``send_message`` of boto3 takes them: those of ``gate.messages.attributes(…)``, and others.

    Raises:
        ConfigurationError: there are more than ten.
    """
    if len(attributes) > MOST_ATTRIBUTES:
        raise ConfigurationError(f"SQS takes {MOST_ATTRIBUTES} attributes with a message.")
    return {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}


def message_of(raw: Mapping[str, Any]) -> Message:
    """Return a message as ``receive_message`` answers it.

    An attribute that is no plain text is handed on as it is, which no token is: a number or bytes named like the token
    is malformed, and not missing.
    """
    attributes = [(name, _plain(value)) for name, value in (raw.get("MessageAttributes") or {}).items()]
    return Message(raw["Body"].encode(), attributes, raw["MessageId"])


def fits(body: str, attributes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether SQS takes a message: at most ten attributes, and 256 KiB with their names, types and values."""
    size = len(body.encode())
    for name, value in attributes.items():
        content = value.get("StringValue")
        size += len(name.encode()) + len(value["DataType"].encode())
        size += len(value.get("BinaryValue", b"")) if content is None else len(content.encode())
    return len(attributes) <= MOST_ATTRIBUTES and size <= MOST_BYTES


async def _in_groups(
    received: Iterable[Mapping[str, Any]],
    each: Callable[[Mapping[str, Any]], Awaitable[tuple[Outcome, bool]]],
    *,
    is_fifo: bool,
) -> Sequence[Outcome]:
    """Handle what has no group at the same time, and each group of a FIFO queue in its order, up to the first to stay.

    Other queues have groups too, for fairness, and no order.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for raw in received:
        group = _group_of(raw) if is_fifo else None
        groups.setdefault(f"one {raw['MessageId']}" if group is None else f"group {group}", []).append(raw)

    async def one_after_the_other(members: list[Mapping[str, Any]]) -> list[Outcome]:
        outcomes = []
        for raw in members:
            outcome, is_gone = await each(raw)
            outcomes.append(outcome)
            if not is_gone:
                break
        return outcomes

    found = await asyncio.gather(*(one_after_the_other(members) for members in groups.values()))
    return [outcome for outcomes in found for outcome in outcomes]


def _plain(value: Mapping[str, Any]) -> object:
    return value["StringValue"] if value.get("DataType") == "String" and "StringValue" in value else value


def _sendable(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[name] for name in ("DataType", "StringValue", "BinaryValue") if value.get(name) is not None}


def _group_of(raw: Mapping[str, Any]) -> str | None:
    return (raw.get("Attributes") or {}).get("MessageGroupId")


def _as_received(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of Lambda's event as ``receive_message`` would have answered it: the names differ in case."""
    attributes = {}
    for name, value in (record.get("messageAttributes") or {}).items():
        members = {member[:1].upper() + member[1:]: content for member, content in value.items() if content is not None}
        if isinstance(members.get("BinaryValue"), str):
            members["BinaryValue"] = base64.b64decode(members["BinaryValue"])
        attributes[name] = members
    return {
        "MessageId": record["messageId"],
        "Body": record["body"],
        "MessageAttributes": attributes,
        "Attributes": record.get("attributes") or {},
    }


async def _sleep(seconds: float, stop: asyncio.Event | None) -> None:
    if stop is None:
        await asyncio.sleep(seconds)
        return
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
