"""Records of Kinesis over HTTP: in order, passed only after success, and never in the way for ever."""

import asyncio
import base64
from typing import Any

import pytest

from limen.authn.message import MAX_TOKEN
from limen.consumers import GuardedMessage, Outcome, Verdict, once
from limen.consumers.kinesis import END, KinesisConsumer, MemoryCheckpoints, sealed, unsealed
from limen.core.errors import ConfigurationError, Unavailable
from limen.core.ids import uuid7
from tests.consumers.conftest import MakeClient, Sender, Work, until


class Stream:
    """A stream of its own, as its senders see it."""

    def __init__(self, client: Any, shards: int = 1) -> None:
        self.client = client
        self.name = f"orders-{uuid7()}"
        client.create_stream(StreamName=self.name, ShardCount=shards)

    def put(self, data: bytes, key: str = "a") -> str:
        """Send a record and return its number."""
        answer = self.client.put_record(StreamName=self.name, Data=data, PartitionKey=key)
        return str(answer["SequenceNumber"])


class Back:
    """What takes the records that are handed back."""

    def __init__(self) -> None:
        self.taken: list[Outcome] = []

    async def __call__(self, outcome: Outcome) -> None:
        self.taken.append(outcome)

    @property
    def codes(self) -> list[str]:
        return [outcome.code for outcome in self.taken]


@pytest.fixture
def stream(client_of: MakeClient) -> Stream:
    """A stream with one shard."""
    return Stream(client_of("kinesis"))


def adapter(sender: Sender, stream: Stream, handler: Any, back: Any = None, **changes: Any) -> KinesisConsumer:
    """Return what handles the records of a stream."""
    told: dict[str, Any] = {
        "client": stream.client,
        "stream": stream.name,
        "checkpoints": MemoryCheckpoints(),
        "hand_back": Back() if back is None else back,
    }
    return KinesisConsumer(sender.consumer(handler), **{**told, **changes})


async def send(sender: Sender, stream: Stream, *bodies: str) -> None:
    """Put records of the service into the stream."""
    for body in bodies:
        stream.put(sealed(body, await sender.attributes(body)))


class TestEnvelope:
    async def test_there_and_back(self, sender: Sender) -> None:
        """The body is byte for byte what was sent, whatever it holds."""
        for body in (b"", b"\n", b"limen1 x\ny", bytes(range(256))):
            message = unsealed(sealed(body, await sender.attributes(body)), "7")
            assert (message.body, message.id) == (body, "7")
            assert (await sender.consumer(Work()).handle(message)).is_over

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (b"plain", "credential_missing"),
            (b"", "credential_missing"),
            (b"limen1x token\nbody", "credential_missing"),
            (b"limen1 ", "credential_malformed"),
            (b"limen1 \nbody", "credential_malformed"),
            (b"limen1 no end", "credential_malformed"),
            (b"limen1 " + b"x" * (MAX_TOKEN + 1) + b"\nbody", "credential_malformed"),
            (b"limen1 x.y.z\nbody", "token_invalid"),
            (b"limen1 \xff.\xff.\xff\nbody", "token_invalid"),
        ],
        ids=[
            "plain",
            "empty",
            "other mark",
            "mark alone",
            "no token",
            "no end",
            "too long",
            "no token of ours",
            "bytes",
        ],
    )
    async def test_hostile_records(self, sender: Sender, data: bytes, code: str) -> None:
        """Each is refused with a code, and is handed back."""
        assert (await sender.consumer(Work()).handle(unsealed(data, "1"))).code == code

    def test_there_is_no_place_for_other_attributes(self) -> None:
        """They would be lost in silence."""
        for attributes in ({}, {"limen-token": "x", "trace": "y"}, {"trace": "y"}):
            with pytest.raises(ConfigurationError):
                sealed(b"body", attributes)


class TestOrder:
    async def test_records_are_handled_in_their_order(self, sender: Sender, stream: Stream) -> None:
        """And each once, look after look."""
        work = Work()
        consumer = adapter(sender, stream, work, batch=2)
        await send(sender, stream, "1", "2", "3")
        for _ in range(3):
            await consumer.poll()
        await send(sender, stream, "4")
        await consumer.poll()
        assert work.bodies == [b"1", b"2", b"3", b"4"]

    async def test_another_process_goes_on_where_one_was(self, sender: Sender, stream: Stream) -> None:
        """At the checkpoint, not at the beginning."""
        checkpoints = MemoryCheckpoints()
        await send(sender, stream, "1", "2")
        await adapter(sender, stream, Work(), checkpoints=checkpoints).poll()
        await send(sender, stream, "3")
        work = Work()
        await adapter(sender, stream, work, checkpoints=checkpoints).poll()
        assert work.bodies == [b"3"]

    async def test_a_worker_that_ends_at_work_passes_nothing(self, sender: Sender, stream: Stream) -> None:
        """What was under way is handled by the next one."""
        checkpoints = MemoryCheckpoints()

        async def slow(message: GuardedMessage) -> None:
            if message.body == b"2":
                began.set()
                await asyncio.sleep(30)

        began = asyncio.Event()
        await send(sender, stream, "1", "2")
        task = asyncio.create_task(adapter(sender, stream, slow, checkpoints=checkpoints).poll())
        await asyncio.wait_for(began.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        work = Work()
        await adapter(sender, stream, work, checkpoints=checkpoints).poll()
        assert work.bodies == [b"2"]

    async def test_children_wait_for_their_parents(self, sender: Sender, stream: Stream) -> None:
        """A shard that was split is read to its end before what follows it."""
        split = Split(
            {
                "parent": [sealed(body, await sender.attributes(body)) for body in ("1", "2")],
                "child": [sealed(body, await sender.attributes(body)) for body in ("3", "4")],
            }
        )
        work = Work()
        checkpoints = MemoryCheckpoints()
        consumer = adapter(sender, stream, work, checkpoints=checkpoints, client=split, batch=1)
        seen = []
        for _ in range(5):
            await consumer.poll()
            seen.append(len(work.done))
        assert work.bodies == [b"1", b"2", b"3", b"4"]
        assert seen == [1, 2, 2, 3, 4]
        assert await checkpoints.load(stream.name, "parent") == END


class Split:
    """A stream whose shard was split, in the answers that the manual of AWS tells; moto's own moves the records."""

    def __init__(self, records: dict[str, list[bytes]]) -> None:
        self.records = records

    def list_shards(self, **arguments: Any) -> dict[str, Any]:
        """Answer them in pages, the child first."""
        if "NextToken" in arguments:
            return {"Shards": [{"ShardId": "parent"}]}
        return {"Shards": [{"ShardId": "child", "ParentShardId": "parent"}], "NextToken": "more"}

    def get_shard_iterator(self, **arguments: Any) -> dict[str, Any]:
        """Answer shard and place."""
        place = int(arguments.get("StartingSequenceNumber", -1)) + 1
        return {"ShardIterator": f"{arguments['ShardId']} {place}"}

    def get_records(self, **arguments: Any) -> dict[str, Any]:
        """Answer one record; of a closed shard's end there is no next place."""
        shard, place = arguments["ShardIterator"].split()
        at = int(place)
        found = [{"SequenceNumber": str(at), "Data": data} for data in self.records[shard][at : at + 1]]
        following = f"{shard} {at + len(found)}"
        return {"Records": found, "NextShardIterator": following if found or shard == "child" else None}


class TestHandedBack:
    async def test_what_is_refused_is_handed_back_at_once(self, sender: Sender, stream: Stream) -> None:
        """With its code and whole, and the shard goes on."""
        back, work = Back(), Work()
        stream.put(b"nobody's")
        await send(sender, stream, "good")
        await adapter(sender, stream, work, back).poll()
        assert back.codes == ["credential_missing"]
        assert back.taken[0].message.body == b"nobody's"
        assert work.bodies == [b"good"]

    async def test_what_fails_is_handed_back_after_its_attempts(self, sender: Sender, stream: Stream) -> None:
        """It holds up its shard until then, and no longer."""
        back = Back()

        async def work(message: GuardedMessage) -> None:
            attempts.append(message.body)
            if message.body == b"poison":
                raise RuntimeError

        attempts: list[bytes] = []
        await send(sender, stream, "poison", "good")
        consumer = adapter(sender, stream, work, back, attempts=3)
        for _ in range(2):
            await consumer.poll()
            assert (attempts.count(b"good"), back.codes) == (0, [])
        await consumer.poll()
        assert back.codes == ["handler_failed"]
        assert attempts == [b"poison"] * 3 + [b"good"]

    async def test_what_is_in_doubt_is_handed_back_too(self, sender: Sender, stream: Stream) -> None:
        """A record whose consumer died with it, under ``@once``, is never worked on twice and not in the way."""
        back = Back()

        @once
        async def work(message: GuardedMessage) -> None:
            attempts.append(message.body)
            raise RuntimeError

        attempts: list[bytes] = []
        await send(sender, stream, "body")
        consumer = adapter(sender, stream, work, back, attempts=2)
        for _ in range(3):
            await consumer.poll()
        assert (back.codes, attempts) == (["message_in_doubt"], [b"body"])

    async def test_what_nobody_can_judge_waits(self, sender: Sender, stream: Stream) -> None:
        """However often it is tried while the database does not answer, it is neither passed nor handed back."""
        back = Back()

        async def work(message: GuardedMessage) -> None:
            if is_down:
                raise Unavailable
            done.append(message.body)

        is_down, done = True, list[bytes]()
        await send(sender, stream, "body")
        consumer = adapter(sender, stream, work, back, attempts=1)
        for _ in range(4):
            assert [outcome.verdict for outcome in await consumer.poll()] == [Verdict.DEFERRED]
        is_down = False
        await consumer.poll()
        assert (done, back.codes) == ([b"body"], [])

    async def test_what_cannot_be_handed_back_stays(self, sender: Sender, stream: Stream) -> None:
        """Where nobody takes it, the shard waits: it is not lost."""
        taken: list[str] = []

        async def back(outcome: Outcome) -> None:
            taken.append(outcome.code)
            if len(taken) == 1:
                raise ConnectionError

        work = Work()
        stream.put(b"nobody's")
        await send(sender, stream, "good")
        consumer = adapter(sender, stream, work, back)
        await consumer.poll()
        assert work.bodies == []
        await consumer.poll()
        assert (taken, work.bodies) == (["credential_missing"] * 2, [b"good"])


class TestRun:
    async def test_it_goes_on_until_it_is_stopped(self, sender: Sender, client_of: MakeClient) -> None:
        """Over several shards, and past a checkpoint that could not be written for a moment."""
        stream = Stream(client_of("kinesis"), shards=3)
        failures: list[str] = []

        class Failing(MemoryCheckpoints):
            async def save(self, stream: str, shard: str, sequence: str) -> None:
                if not failures:
                    failures.append(sequence)
                    raise ConnectionError
                await super().save(stream, shard, sequence)

        @once
        async def work(message: GuardedMessage) -> None:
            done.append(message.body)

        done: list[bytes] = []
        bodies = [f"{number}" for number in range(9)]
        for body in bodies:
            stream.put(sealed(body, await sender.attributes(body)), key=body)
        stop = asyncio.Event()
        task = asyncio.create_task(adapter(sender, stream, work, checkpoints=Failing(), pause=0.1).run(stop))
        await until(lambda: len(done) == 9)
        stop.set()
        await asyncio.wait_for(task, 60)
        assert failures
        assert sorted(done) == [body.encode() for body in bodies]


class TestLambda:
    async def test_the_first_that_is_not_passed_is_named(self, sender: Sender, stream: Stream) -> None:
        """AWS begins there again; what is refused is handed back and passed."""
        back = Back()

        async def work(message: GuardedMessage) -> None:
            done.append(message.body)
            if message.body == b"bad":
                raise RuntimeError

        def record(number: int, data: bytes) -> dict[str, Any]:
            return {"kinesis": {"data": base64.b64encode(data).decode(), "sequenceNumber": str(number)}}

        done: list[bytes] = []
        consumer = adapter(sender, stream, work, back)
        good, bad, never = [sealed(body, await sender.attributes(body)) for body in ("good", "bad", "never")]
        event = {"Records": [record(1, b"nobody's"), record(2, good), record(3, bad), record(4, never)]}
        assert await consumer.handle_event(event) == {"batchItemFailures": [{"itemIdentifier": "3"}]}
        assert (done, back.codes) == ([b"good", b"bad"], ["credential_missing"])
        assert await consumer.handle_event({"Records": [record(2, good)]}) == {"batchItemFailures": []}


def test_numbers_out_of_range(sender: Sender) -> None:
    """Are refused when it is made."""
    for told in ({"attempts": 0}, {"batch": 0}, {"batch": 10_001}, {"pause": 0}):
        with pytest.raises(ConfigurationError):
            KinesisConsumer(
                sender.consumer(Work()),
                stream="s",
                checkpoints=MemoryCheckpoints(),
                hand_back=Back(),
                client=object(),
                **told,
            )
