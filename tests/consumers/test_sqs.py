"""Messages of SQS over HTTP: deleted only after success, handed back with the reason, never lost."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from limen.consumers import GuardedMessage, Outcome, Verdict, once, roles
from limen.consumers.sqs import BATCH, MOST_BYTES, REASON, SqsConsumer, fits, message_attributes, message_of
from limen.core.errors import ConfigurationError
from limen.core.ids import uuid7
from limen.features.roles.service import OPERATOR
from tests.consumers.conftest import MakeClient, Sender, Work, until


class Queue:
    """One queue, as its senders and operators see it."""

    def __init__(self, client: Any, *, name: str = "", **attributes: str) -> None:
        self.client = client
        fifo = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
        name = name or f"orders-{uuid7()}"
        self.url = client.create_queue(QueueName=name, Attributes=attributes | fifo)["QueueUrl"]

    def send(self, body: str, attributes: dict[str, Any], **more: str) -> str:
        """Send a message and return its id."""
        said = message_attributes(attributes)
        answer = self.client.send_message(QueueUrl=self.url, MessageBody=body, MessageAttributes=said, **more)
        return str(answer["MessageId"])

    def receive(self) -> list[dict[str, Any]]:
        """Take what can be seen."""
        answer = self.client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"]
        )
        return list(answer.get("Messages", []))

    @property
    def counts(self) -> tuple[int, int]:
        """How many can be seen, and how many are out of sight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])


MakeQueue = Callable[..., Queue]


@pytest.fixture
def make(client_of: MakeClient) -> MakeQueue:
    """Makes queues."""
    client = client_of("sqs")

    def queue(**told: str) -> Queue:
        return Queue(client, **told)

    return queue


def adapter(sender: Sender, queue: Queue, handler: Any, **changes: Any) -> SqsConsumer:
    """Return what handles the messages of a queue."""
    told = {"client": queue.client, "queue_url": queue.url, "wait": 0, **changes}
    return SqsConsumer(sender.consumer(handler), **told)


async def next_of(consumer: SqsConsumer) -> Sequence[Outcome]:
    """Ask until something comes, as a worker does, and return what became of it."""
    async with asyncio.timeout(60):
        while not (outcomes := await consumer.poll()):  # noqa: ASYNC110 - as workers do
            await asyncio.sleep(0.05)
    return outcomes


class TestDeleting:
    async def test_a_handled_message_is_deleted(self, sender: Sender, make: MakeQueue) -> None:
        """And no other one: what was handled is gone, what failed comes again."""
        queue = make()

        async def work(message: GuardedMessage) -> None:
            if message.body == b"bad":
                raise RuntimeError
            done.append(message.body)

        done: list[bytes] = []
        for body in ("one", "bad", "two"):
            queue.send(body, await sender.attributes(body))
        outcomes = await adapter(sender, queue, work).poll()
        assert sorted(done) == [b"one", b"two"]
        assert sorted(outcome.verdict for outcome in outcomes) == [Verdict.FAILED, Verdict.HANDLED, Verdict.HANDLED]
        assert queue.counts == (0, 1)

    @pytest.mark.serial
    async def test_what_failed_comes_again(self, sender: Sender, make: MakeQueue) -> None:
        """When its visibility is over, until it is handled."""
        queue = make()

        async def work(message: GuardedMessage) -> None:
            attempts.append(message.id)
            if len(attempts) == 1:
                raise RuntimeError

        attempts: list[str] = []
        message_id = queue.send("body", await sender.attributes())
        consumer = adapter(sender, queue, work, visibility=5)
        assert (await consumer.poll())[0].verdict is Verdict.FAILED
        assert await consumer.poll() == []
        assert (await next_of(consumer))[0].verdict is Verdict.HANDLED
        assert attempts == [message_id, message_id]
        assert queue.counts == (0, 0)

    @pytest.mark.serial
    async def test_a_worker_that_ends_at_work_loses_nothing(self, sender: Sender, make: MakeQueue) -> None:
        """A cancelled handler has deleted nothing: another worker gets the message."""
        queue = make()

        async def slow(message: GuardedMessage) -> None:
            await asyncio.sleep(30)

        queue.send("body", await sender.attributes())
        task = asyncio.create_task(adapter(sender, queue, slow, visibility=2).poll())
        await until(lambda: queue.counts == (0, 1))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        work = Work()
        assert (await next_of(adapter(sender, queue, work)))[0].is_over
        assert work.bodies == [b"body"]

    async def test_a_copy_is_deleted(self, sender: Sender, make: MakeQueue) -> None:
        """What was handled before is not handled again, and does not stay in the queue."""
        queue = make()

        @once
        async def work(message: GuardedMessage) -> None:
            done.append(message.id)

        done: list[str] = []
        attributes = await sender.attributes()
        consumer = adapter(sender, queue, work)
        verdicts = []
        for _ in range(2):
            queue.send("body", attributes)
            verdicts += [outcome.verdict for outcome in await consumer.poll()]
        assert verdicts == [Verdict.HANDLED, Verdict.REPEATED]
        assert len(done) == 1
        assert queue.counts == (0, 0)

    @pytest.mark.serial
    async def test_a_long_handler_keeps_its_message(self, sender: Sender, make: MakeQueue) -> None:
        """For longer than the visibility nobody else is handed it."""
        queue = make()

        async def slow(message: GuardedMessage) -> None:
            await went_on.wait()

        went_on = asyncio.Event()
        queue.send("body", await sender.attributes())
        task = asyncio.create_task(adapter(sender, queue, slow, visibility=6).poll())
        await until(lambda: queue.counts == (0, 1))
        await asyncio.sleep(6.5)
        assert queue.receive() == []
        went_on.set()
        assert (await task)[0].is_over
        assert queue.counts == (0, 0)

    async def test_a_delete_that_fails_leaves_the_message(self, sender: Sender, make: MakeQueue) -> None:
        """The others of its batch are deleted all the same; it comes again."""
        queue = make()
        for body in ("one", "two"):
            queue.send(body, await sender.attributes(body))

        class Failing:
            """The client, but for the first deletion."""

            def __init__(self) -> None:
                self.failed = False

            def __getattr__(self, name: str) -> Any:
                return getattr(queue.client, name)

            def delete_message(self, **arguments: Any) -> Any:
                if not self.failed:
                    self.failed = True
                    raise ConnectionError
                return queue.client.delete_message(**arguments)

        await adapter(sender, queue, Work(), client=Failing()).poll()
        assert queue.counts == (0, 1)


class TestRefused:
    async def test_to_the_dead_letter_queue_with_the_reason(self, sender: Sender, make: MakeQueue) -> None:
        """Body and attributes as they came, the code beside them; then it is deleted."""
        queue, dead = make(), make()

        @roles("admin")
        async def work(message: GuardedMessage) -> None: ...

        attributes = await sender.attributes(b"body")
        queue.send("body", {**attributes, "trace": "abc"})
        queue.send("other", {})
        outcomes = await adapter(sender, queue, work, dead_letter_url=dead.url).poll()
        assert {outcome.verdict for outcome in outcomes} == {Verdict.REFUSED}
        assert queue.counts == (0, 0)
        found = {each["Body"]: each.get("MessageAttributes", {}) for each in dead.receive()}
        assert {name: value["StringValue"] for name, value in found["body"].items()} == {
            **attributes,
            "trace": "abc",
            REASON: "role_required",
        }
        assert found["other"][REASON]["StringValue"] == "credential_missing"

    async def test_sent_back_it_is_handled(self, sender: Sender, make: MakeQueue) -> None:
        """An operator who grants the role and moves the message back gets it done, with ``@once`` too."""
        queue, dead = make(), make()

        @once
        @roles("admin")
        async def work(message: GuardedMessage) -> None:
            done.append(message.body)

        done: list[bytes] = []
        queue.send("body", await sender.attributes())
        consumer = adapter(sender, queue, work, dead_letter_url=dead.url)
        await consumer.poll()
        (letter,) = dead.receive()
        await sender.gate.roles.grant(OPERATOR, sender.service.id, {"admin"})
        attributes = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
        queue.send(letter["Body"], attributes)
        assert (await consumer.poll())[0].is_over
        assert done == [b"body"]

    @pytest.mark.serial
    async def test_left_to_the_redrive_policy(self, sender: Sender, make: MakeQueue, client_of: MakeClient) -> None:
        """Without a dead-letter queue of its own it stays, and the queue moves it after so many receives."""
        dead = make()
        arn = dead.client.get_queue_attributes(QueueUrl=dead.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = {"deadLetterTargetArn": arn, "maxReceiveCount": "2"}
        queue = make(RedrivePolicy=json.dumps(policy))
        message_id = queue.send("body", {})
        consumer = adapter(sender, queue, Work(), visibility=2)
        for _ in range(2):
            assert (await next_of(consumer))[0].verdict is Verdict.REFUSED
        await asyncio.sleep(2.2)
        assert await consumer.poll() == []
        assert [each["MessageId"] for each in dead.receive()] == [message_id]

    async def test_where_there_is_no_room_for_the_reason(self, sender: Sender, make: MakeQueue) -> None:
        """Ten attributes, or 256 KiB, are all that SQS takes: then it goes as it came, and is not lost."""
        queue, dead = make(), make()
        many = {f"a{number}": "x" for number in range(10)}
        queue.send("many", many)
        long = "x" * (MOST_BYTES - 40)
        queue.send(long, {"trace": "abc"})
        await adapter(sender, queue, Work(), dead_letter_url=dead.url).poll()
        assert queue.counts == (0, 0)
        found = {each["Body"][:4]: set(each["MessageAttributes"]) for each in dead.receive()}
        assert found == {"many": set(many), "xxxx": {"trace"}}

    async def test_a_dead_letter_queue_that_does_not_answer(self, sender: Sender, make: MakeQueue) -> None:
        """What cannot be handed back stays where it is."""
        queue = make()
        queue.send("body", {})
        outcomes = await adapter(sender, queue, Work(), dead_letter_url=f"{queue.url}-not-there").poll()
        assert outcomes[0].verdict is Verdict.REFUSED
        assert queue.counts == (0, 1)

    @pytest.mark.parametrize(
        "value",
        [{"DataType": "Number", "StringValue": "7"}, {"DataType": "Binary", "BinaryValue": b"x"}],
        ids=["number", "bytes"],
    )
    async def test_a_token_of_another_type(self, sender: Sender, make: MakeQueue, value: Any) -> None:
        """An attribute of the name that is no plain text is malformed, and goes on to the dead letters as it is."""
        queue, dead = make(), make()
        queue.client.send_message(QueueUrl=queue.url, MessageBody="body", MessageAttributes={"limen-token": value})
        outcomes = await adapter(sender, queue, Work(), dead_letter_url=dead.url).poll()
        assert outcomes[0].code == "credential_malformed"
        assert dead.receive()[0]["MessageAttributes"]["limen-token"] == value

    async def test_what_nobody_can_judge_is_not_handed_back(self, sender: Sender, make: MakeQueue) -> None:
        """While the database does not answer, no message goes to the dead letters."""
        queue, dead = make(), make()
        queue.send("body", await sender.attributes())
        await sender.gate.storage.stop()
        outcomes = await adapter(sender, queue, Work(), dead_letter_url=dead.url).poll()
        await sender.gate.storage.start()
        assert outcomes[0].verdict is Verdict.DEFERRED
        assert (queue.counts, dead.counts) == ((0, 1), (0, 0))


class TestFifo:
    async def test_a_group_waits_behind_what_failed(self, sender: Sender, make: MakeQueue) -> None:
        """Its order is kept; other groups go on."""
        queue = make(name=f"orders-{uuid7()}.fifo")

        async def work(message: GuardedMessage) -> None:
            if message.body == b"a1":
                raise RuntimeError
            done.append(message.body)

        done: list[bytes] = []
        for body in ("a1", "a2", "b1", "b2"):
            group = {"MessageGroupId": body[0], "MessageDeduplicationId": body}
            queue.send(body, await sender.attributes(body), **group)
        outcomes = await adapter(sender, queue, work).poll()
        assert done == [b"b1", b"b2"]
        assert [outcome.message.body for outcome in outcomes if not outcome.is_over] == [b"a1"]

    async def test_dead_letters_keep_their_group(self, sender: Sender, make: MakeQueue) -> None:
        """A FIFO queue takes a FIFO queue for its dead letters; what is refused does not hold up its group."""
        queue, dead = make(name=f"orders-{uuid7()}.fifo"), make(name=f"dead-{uuid7()}.fifo")
        work = Work()
        queue.send("refused", {}, MessageGroupId="a", MessageDeduplicationId="1")
        queue.send("taken", await sender.attributes("taken"), MessageGroupId="a", MessageDeduplicationId="2")
        await adapter(sender, queue, work, dead_letter_url=dead.url).poll()
        assert work.bodies == [b"taken"]
        (letter,) = dead.receive()
        assert letter["Attributes"]["MessageGroupId"] == "a"


class TestRun:
    async def test_it_goes_on_until_it_is_stopped(self, sender: Sender, make: MakeQueue) -> None:
        """More than a batch, and what comes later."""
        queue = make()
        work = Work()
        stop = asyncio.Event()
        for number in range(BATCH + 2):
            queue.send(f"{number}", await sender.attributes(f"{number}"))
        task = asyncio.create_task(adapter(sender, queue, work).run(stop))
        async with asyncio.timeout(60):
            await until(lambda: len(work.done) >= BATCH + 2)
            queue.send("late", await sender.attributes("late"))
            await until(lambda: b"late" in work.bodies)
            stop.set()
            await task
        assert queue.counts == (0, 0)

    async def test_a_queue_that_does_not_answer_is_asked_again(self, sender: Sender, make: MakeQueue) -> None:
        """The worker goes on when it is back; while it waits it can be stopped."""
        queue = make()
        work = Work()
        calls: list[float] = []

        class Down:
            """A client whose first call finds nobody."""

            def __getattr__(self, name: str) -> Any:
                return getattr(queue.client, name)

            def receive_message(self, **arguments: Any) -> Any:
                calls.append(0.0)
                if len(calls) == 1:
                    raise ConnectionError
                return queue.client.receive_message(**arguments)

        queue.send("body", await sender.attributes())
        stop = asyncio.Event()
        task = asyncio.create_task(adapter(sender, queue, work, client=Down()).run(stop))
        async with asyncio.timeout(60):
            await until(lambda: bool(work.done))
            stop.set()
            await task
        assert work.bodies == [b"body"]


def lambda_record(
    body: str, attributes: dict[str, Any], *, message_id: str, group: str | None = None
) -> dict[str, Any]:
    """Return a record as AWS Lambda is handed it."""
    return {
        "messageId": message_id,
        "receiptHandle": "handle",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"} | ({} if group is None else {"MessageGroupId": group}),
        "messageAttributes": {
            name: {"stringValue": value, "stringListValues": [], "binaryListValues": [], "dataType": "String"}
            for name, value in attributes.items()
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-south-1:1:orders" + ("" if group is None else ".fifo"),
    }


class TestLambda:
    async def test_what_is_not_done_is_named(self, sender: Sender, make: MakeQueue) -> None:
        """AWS deletes the others; what is refused and what failed comes again."""

        async def work(message: GuardedMessage) -> None:
            if message.body == b"bad":
                raise RuntimeError

        records = [
            lambda_record("one", await sender.attributes("one"), message_id="1"),
            lambda_record("bad", await sender.attributes("bad"), message_id="2"),
            lambda_record("nobody's", {}, message_id="3"),
        ]
        answer = await adapter(sender, make(), work).handle_event({"Records": records})
        assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}, {"itemIdentifier": "3"}]}

    async def test_refused_ones_go_to_the_dead_letters(self, sender: Sender, make: MakeQueue) -> None:
        """With the reason; then AWS may delete them. Where that fails, they come again."""
        queue, dead = make(), make()
        record = lambda_record("body", {"trace": "abc"}, message_id="1")
        record["messageAttributes"]["raw"] = {"binaryValue": "AAE=", "dataType": "Binary"}
        consumer = adapter(sender, queue, Work(), dead_letter_url=dead.url)
        assert await consumer.handle_event({"Records": [record]}) == {"batchItemFailures": []}
        (letter,) = dead.receive()
        assert letter["MessageAttributes"][REASON]["StringValue"] == "credential_missing"
        assert letter["MessageAttributes"]["trace"]["StringValue"] == "abc"
        assert letter["MessageAttributes"]["raw"]["BinaryValue"] == b"\x00\x01"
        failing = adapter(sender, queue, Work(), dead_letter_url=f"{queue.url}-not-there")
        assert await failing.handle_event({"Records": [record]}) == {"batchItemFailures": [{"itemIdentifier": "1"}]}

    async def test_a_group_waits_behind_what_failed(self, sender: Sender, make: MakeQueue) -> None:
        """All of it is named, so that AWS keeps the order."""

        async def work(message: GuardedMessage) -> None:
            done.append(message.body)
            if message.body == b"a1":
                raise RuntimeError

        done: list[bytes] = []
        records = [
            lambda_record(body, await sender.attributes(body), message_id=body, group=body[0])
            for body in ("a1", "a2", "b1")
        ]
        answer = await adapter(sender, make(), work).handle_event({"Records": records})
        assert [each["itemIdentifier"] for each in answer["batchItemFailures"]] == ["a1", "a2"]
        assert sorted(done) == [b"a1", b"b1"]


class TestShapes:
    def test_ten_attributes(self) -> None:
        """The eleventh is refused before it is sent."""
        assert len(message_attributes({f"a{number}": "x" for number in range(10)})) == 10
        with pytest.raises(ConfigurationError, match="10"):
            message_attributes({f"a{number}": "x" for number in range(11)})

    def test_256_kib_with_everything(self) -> None:
        """Names, types and values of the attributes count, and characters count by their bytes."""
        assert fits("x" * MOST_BYTES, {})
        assert not fits("x" * MOST_BYTES, message_attributes({"a": "b"}))
        assert fits("x" * (MOST_BYTES - 8), message_attributes({"a": "b"}))
        assert not fits("ä" * (MOST_BYTES // 2 + 1), {})

    async def test_what_a_token_takes(self, sender: Sender) -> None:
        """Less than half a kilobyte of the 256."""
        (value,) = (await sender.attributes("x" * 100_000)).values()
        assert len(value) < 512

    def test_a_message_without_attributes(self) -> None:
        """Is one."""
        message = message_of({"MessageId": "1", "Body": "ä"})
        assert (message.body, list(message.pairs), message.id) == ("ä".encode(), [], "1")

    def test_numbers_out_of_range(self, sender: Sender, client_of: MakeClient) -> None:
        """Are refused when it is made."""
        for told in ({"visibility": 1}, {"visibility": 43_201}, {"wait": 21}, {"wait": -1}, {"dead_letter_url": "q"}):
            with pytest.raises(ConfigurationError):
                SqsConsumer(sender.consumer(Work()), queue_url="q", client=object(), **told)

    def test_without_boto3(self, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
        """The message says what to install; a client that is handed in needs nothing."""
        monkeypatch.setattr("limen.consumers.aws.find_spec", lambda name: None)
        with pytest.raises(ConfigurationError, match=r"limen\[aws\]"):
            SqsConsumer(sender.consumer(Work()), queue_url="q")
        SqsConsumer(sender.consumer(Work()), queue_url="q", client=object())
