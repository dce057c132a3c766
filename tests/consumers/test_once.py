"""At most once, on SQLite and PostgreSQL: what is replayed, what crashes, and what is done with the work itself."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from limen.consumers import Consumer, GuardedMessage, Verdict, once, roles
from limen.core.errors import ConfigurationError, Unavailable
from tests.consumers.conftest import Sender
from tests.own_user.conftest import Place, profile


class TestOnce:
    async def test_of_fifty_copies_one_is_handled(self, anywhere: Sender) -> None:
        """However many consumers get them at once; every other copy comes back with a code."""
        done: list[str] = []

        @once
        async def work(message: GuardedMessage) -> None:
            done.append(message.jti)
            await asyncio.sleep(0.05)

        message = await anywhere.message()
        consumers = [anywhere.consumer(work) for _ in range(5)]
        outcomes = await asyncio.gather(*(consumers[number % 5].handle(message) for number in range(50)))
        assert len(done) == 1
        verdicts = Counter(outcome.verdict for outcome in outcomes)
        assert verdicts[Verdict.HANDLED] == 1
        assert verdicts[Verdict.IN_DOUBT] + verdicts[Verdict.REPEATED] == 49
        assert all(outcome.code in {"", "message_in_doubt", "message_repeated"} for outcome in outcomes)
        again = await consumers[0].handle(message)
        assert (again.verdict, again.code, again.is_over) == (Verdict.REPEATED, "message_repeated", True)
        assert len(done) == 1

    async def test_two_messages_with_one_body_are_two(self, anywhere: Sender) -> None:
        """A message is told by its token, not by what it says."""
        done: list[bytes] = []

        @once
        async def work(message: GuardedMessage) -> None:
            done.append(message.body)

        consumer = anywhere.consumer(work)
        for _ in range(2):
            assert (await consumer.handle(await anywhere.message(b"same"))).verdict is Verdict.HANDLED
        assert done == [b"same", b"same"]

    async def test_two_consumers_each_do_their_own(self, anywhere: Sender) -> None:
        """A message that goes to both, by a topic say, is handled once by each."""
        done: list[str] = []

        def named(name: str) -> Consumer:
            @once
            async def work(message: GuardedMessage) -> None:
                done.append(name)

            return anywhere.consumer(work, name=name)

        message = await anywhere.message()
        for name in ("billing", "shipping", "billing", "shipping"):
            await named(name).handle(message)
        assert done == ["billing", "shipping"]

    async def test_who_may_not_does_not_use_it_up(self, anywhere: Sender) -> None:
        """A refusal records nothing: the role may be granted, and the message sent on."""
        done: list[str] = []

        @once
        @roles("admin")
        async def work(message: GuardedMessage) -> None:
            done.append("admin")

        @once
        @roles("maker")
        async def other(message: GuardedMessage) -> None:
            done.append("maker")

        message = await anywhere.message()
        assert (await anywhere.consumer(work).handle(message)).code == "role_required"
        assert (await anywhere.consumer(other).handle(message)).is_over
        assert done == ["maker"]

    async def test_what_failed_is_in_doubt_and_not_tried_again(self, anywhere: Sender) -> None:
        """The handler may have done half of it: at most once means one attempt, and the rest is for somebody to see."""
        attempts: list[str] = []

        @once
        async def work(message: GuardedMessage) -> None:
            attempts.append(message.jti)
            raise RuntimeError

        consumer, message = anywhere.consumer(work), await anywhere.message()
        verdicts = [(await consumer.handle(message)).verdict for _ in range(3)]
        assert verdicts == [Verdict.FAILED, Verdict.IN_DOUBT, Verdict.IN_DOUBT]
        assert len(attempts) == 1

    async def test_without_once_a_copy_is_handled_again(self, anywhere: Sender) -> None:
        """It is asked for, and costs a write each time."""
        done: list[str] = []

        async def work(message: GuardedMessage) -> None:
            done.append(message.jti)

        consumer, message = anywhere.consumer(work), await anywhere.message()
        for _ in range(2):
            assert (await consumer.handle(message)).verdict is Verdict.HANDLED
        assert len(done) == 2

    async def test_a_record_that_cannot_be_written_defers(self, sender: Sender, monkeypatch: Any) -> None:
        """Without the record no work is done; the message comes again."""
        done: list[str] = []

        @once
        async def work(message: GuardedMessage) -> None:
            done.append(message.jti)

        async def down(*args: Any, **kwargs: Any) -> Any:
            raise Unavailable

        consumer, message = sender.consumer(work), await sender.message()
        with monkeypatch.context() as patched:
            patched.setattr(sender.gate.storage, "write", down)
            assert (await consumer.handle(message)).verdict is Verdict.DEFERRED
        assert done == []
        assert (await consumer.handle(message)).verdict is Verdict.HANDLED

    async def test_in_a_transaction_of_the_application_it_is_not_begun(self, place: Place, anywhere: Sender) -> None:
        """The record would go with a rollback, and the work might stay: nothing is done, and it comes again."""
        done: list[str] = []

        @once
        async def work(message: GuardedMessage) -> None:
            done.append(message.jti)

        consumer, message = anywhere.consumer(work), await anywhere.message()
        async with place.engine.begin() as connection, place.gate.using(connection):
            outcome = await consumer.handle(message)
        assert (outcome.verdict, done) == (Verdict.DEFERRED, [])
        assert (await consumer.handle(message)).verdict is Verdict.HANDLED


def booking(place: Place, *, fails: bool = False) -> Any:
    """Return a handler that writes one row of the application's, and the record of the message with it."""

    async def work(message: GuardedMessage) -> None:
        async with place.engine.begin() as connection, place.gate.using(connection):
            await message.claim()
            await profile(connection, message.principal.sub)
            if fails:
                raise RuntimeError

    return work


class TestWithTheWork:
    async def test_record_and_work_are_one_commit(self, place: Place, anywhere: Sender) -> None:
        """Fifty copies at once leave one row: each of the others waits for the first, and finds it done."""
        message = await anywhere.message()
        consumer = anywhere.consumer(booking(place))
        outcomes = await asyncio.gather(*(consumer.handle(message) for _ in range(50 if place.is_postgres else 10)))
        verdicts = Counter(outcome.verdict for outcome in outcomes)
        assert verdicts[Verdict.HANDLED] == 1
        assert set(verdicts) <= {Verdict.HANDLED, Verdict.REPEATED, Verdict.FAILED}
        assert len(await place.rows("SELECT sub FROM profiles")) == 1
        again = await consumer.handle(message)
        assert (again.verdict, again.code) == (Verdict.REPEATED, "message_repeated")

    async def test_a_rollback_takes_the_record_back(self, place: Place, anywhere: Sender) -> None:
        """What failed is tried again, and done exactly once in the end."""
        message = await anywhere.message()
        failing, working = anywhere.consumer(booking(place, fails=True)), anywhere.consumer(booking(place))
        for _ in range(2):
            assert (await failing.handle(message)).verdict is Verdict.FAILED
        assert await place.rows("SELECT sub FROM profiles") == []
        assert (await working.handle(message)).verdict is Verdict.HANDLED
        assert (await working.handle(message)).verdict is Verdict.REPEATED
        assert len(await place.rows("SELECT sub FROM profiles")) == 1

    async def test_outside_of_a_transaction_it_is_refused(self, anywhere: Sender) -> None:
        """A crash between record and work would lose the message, so the handler fails and nothing is recorded."""

        async def work(message: GuardedMessage) -> None:
            await message.claim()

        outcome = await anywhere.consumer(work).handle(await anywhere.message())
        assert outcome.verdict is Verdict.FAILED
        assert isinstance(outcome.error, ConfigurationError)

    async def test_what_once_has_begun_is_in_doubt_here_too(self, place: Place, anywhere: Sender) -> None:
        """The two ways of one consumer know of each other."""

        @once
        async def crashing(message: GuardedMessage) -> None:
            raise RuntimeError

        message = await anywhere.message()
        await anywhere.consumer(crashing).handle(message)
        outcome = await anywhere.consumer(booking(place)).handle(message)
        assert (outcome.verdict, outcome.code) == (Verdict.IN_DOUBT, "message_in_doubt")
        assert await place.rows("SELECT sub FROM profiles") == []


CRASHING = """
import asyncio, os, signal, sys
from limen import Limen
from limen.consumers import Consumer, Message, once

async def plain(message):
    print("working", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with Limen.from_env().running() as gate:
        handler = once(plain) if sys.argv[1] == "once" else plain
        await Consumer(gate, handler, audience="orders").handle(Message(b"body", {"limen-token": sys.argv[2]}))

asyncio.run(main())
"""


class TestCrash:
    @pytest.mark.parametrize("way", ["once", "plain"])
    async def test_a_consumer_that_dies_at_work(self, place: Place, anywhere: Sender, way: str) -> None:
        """The message is still there. Without ``@once`` it is handled again; with it, it is in doubt."""
        message = await anywhere.message()
        settings = place.gate.settings
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LIMEN_")},
            "LIMEN_DATABASE_URL": place.limen_url,
            "LIMEN_JWT_ACCESS_SECRET": settings.jwt_access_secret.get_secret_value(),
            "LIMEN_JWT_REFRESH_SECRET": settings.jwt_refresh_secret.get_secret_value(),
        }
        token = dict(message.pairs)["limen-token"]
        program = [sys.executable, "-c", CRASHING, way, str(token)]
        done = await asyncio.to_thread(
            subprocess.run, program, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert done.stdout == "working\n"
        handled: list[bytes] = []

        async def work(again: GuardedMessage) -> None:
            handled.append(again.body)

        outcome = await anywhere.consumer(once(work) if way == "once" else work).handle(message)
        if way == "once":
            assert (outcome.verdict, handled) == (Verdict.IN_DOUBT, [])
        else:
            assert (outcome.verdict, handled) == (Verdict.HANDLED, [b"body"])

    async def test_a_consumer_that_dies_before_its_commit(self, place: Place, anywhere: Sender) -> None:
        """What the transaction held is gone with the connection, the record too: it is handled again, once."""
        message = await anywhere.message()

        async def dying(taken: GuardedMessage) -> None:
            connection = await place.engine.connect()
            transaction = await connection.begin()
            assert transaction.is_active
            async with place.gate.using(connection):
                await taken.claim()
                await profile(connection, taken.principal.sub)
            await connection.invalidate()
            with suppress(Exception):
                await connection.close()
            raise ConnectionError

        assert (await anywhere.consumer(dying).handle(message)).verdict is Verdict.FAILED
        assert (await anywhere.consumer(booking(place)).handle(message)).verdict is Verdict.HANDLED
        assert len(await place.rows("SELECT sub FROM profiles")) == 1
