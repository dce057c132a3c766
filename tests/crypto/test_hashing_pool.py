"""The pool hashes on every core at the lowest priority, has an end to its queue, and leaves the event loop alone."""

import asyncio
import contextvars
import gc
import itertools
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace

import pytest

from limen.core.errors import Busy, ConfigurationError, Unavailable
from limen.crypto import hashing_pool
from limen.crypto.hashing_pool import QUEUE_PER_THREAD, HashingPool, usable_cores
from limen.crypto.passwords import PasswordHasher

PATIENCE = 60.0


class Gate:
    """Work that goes on until it is told to end."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Semaphore(0)
        self.done: list[int] = []

    def pass_through(self, number: int = 0) -> int:
        self.entered.release()
        assert self.opened.wait(PATIENCE)
        self.done.append(number)
        return number


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Hold up what passes through, and let it go at the end in any case."""
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def make() -> Iterator[Callable[..., HashingPool]]:
    """Make pools that are closed afterwards."""
    pools: list[HashingPool] = []

    def made(threads: int | None = None, *, queue: int | None = None) -> HashingPool:
        pools.append(HashingPool(threads, queue=queue))
        return pools[-1]

    yield made
    for pool in pools:
        pool.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - a thread has no asyncio.Event to set
            await asyncio.sleep(0.005)


async def entered(gate: Gate) -> None:
    """Wait until one more job has begun."""
    await until(lambda: gate.entered.acquire(blocking=False))


def own_threads() -> set[threading.Thread]:
    """Return the threads of all pools."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("limen-hashing")}


def add(one: int, *, other: int) -> int:
    """Return a sum."""
    return one + other


class TestRun:
    async def test_result(self, make: Callable[..., HashingPool]) -> None:
        """What the function returns comes back, and its arguments reach it."""
        assert await make().run(add, 20, other=22) == 42

    async def test_error(self, make: Callable[..., HashingPool]) -> None:
        """What the function raises comes back, and the thread goes on."""
        pool = make(1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await pool.run(divmod, 1, 0)
        with pytest.raises(SystemExit):
            await pool.run(sys.exit, 3)
        assert await pool.run(add, 1, other=1) == 2

    async def test_context(self, make: Callable[..., HashingPool]) -> None:
        """The function sees the context variables of its caller, such as the request's id for the log."""
        variable = contextvars.ContextVar("variable", default="none")
        variable.set("the caller's")
        assert await make().run(variable.get) == "the caller's"

    async def test_threads(self, make: Callable[..., HashingPool], gate: Gate) -> None:
        """By default exactly as many jobs run at a time as there are cores to use."""
        pool = make()
        assert pool.threads == usable_cores() == len(os.sched_getaffinity(0))
        assert pool.queue == QUEUE_PER_THREAD * pool.threads
        jobs = [asyncio.ensure_future(pool.run(gate.pass_through, number)) for number in range(pool.threads + 3)]
        for _ in range(pool.threads):
            await entered(gate)
        await asyncio.sleep(0.05)
        assert not gate.entered.acquire(blocking=False)
        gate.opened.set()
        assert await asyncio.gather(*jobs) == list(range(pool.threads + 3))

    async def test_order(self, make: Callable[..., HashingPool], gate: Gate) -> None:
        """Who came first is served first."""
        pool = make(1)
        jobs = [asyncio.ensure_future(pool.run(gate.pass_through, number)) for number in range(10)]
        await entered(gate)
        gate.opened.set()
        await asyncio.gather(*jobs)
        assert gate.done == list(range(10))

    def test_priority(self) -> None:
        """Its threads run at nice 19, and no other thread of the process does."""
        program = """
            import asyncio, os, threading
            from limen.crypto.hashing_pool import HashingPool
            own = lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
            before, pool = own(), HashingPool(2)
            print(asyncio.run(pool.run(own)), own() - before)
            pool.close()
        """
        # In a process of its own: in this one the tests have set another priority.
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=PATIENCE
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "19 0\n", "")

    async def test_loop_is_free(self, make: Callable[..., HashingPool], gate: Gate) -> None:
        """While every thread is taken and the queue is full, the loop turns, and refuses at once."""
        pool = make(2, queue=4)
        jobs = [asyncio.ensure_future(pool.run(gate.pass_through)) for _ in range(6)]
        await entered(gate)
        began = time.perf_counter()
        for _ in range(100):
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await pool.run(gate.pass_through)
        assert time.perf_counter() - began < PATIENCE / 2  # who waited would wait for ever
        gate.opened.set()
        assert await asyncio.gather(*jobs) == [0] * 6

    @pytest.mark.parametrize(("threads", "queue"), [(0, 1), (-1, 1), (1, -1)])
    def test_impossible_sizes(self, threads: int, queue: int) -> None:
        """A pool that could serve nobody is refused at start."""
        with pytest.raises(ConfigurationError):
            HashingPool(threads, queue=queue)


class TestFull:
    @pytest.mark.parametrize("queue", [0, 1, 5])
    async def test_bound(self, make: Callable[..., HashingPool], gate: Gate, queue: int) -> None:
        """As many as run and may wait are taken, the next one is refused, and a place freed can be taken again."""
        pool = make(2, queue=queue)
        jobs = [asyncio.ensure_future(pool.run(gate.pass_through)) for _ in range(2 + queue)]
        await entered(gate)
        await entered(gate)
        with pytest.raises(Busy):
            await pool.run(gate.pass_through)
        gate.opened.set()
        await asyncio.gather(*jobs)
        assert await pool.run(gate.pass_through, 7) == 7
        assert len(gate.done) == 2 + queue + 1

    @pytest.mark.parametrize(("quick_jobs_before", "seconds"), [(0, 11), (100, 1)])
    async def test_retry_after(
        self,
        make: Callable[..., HashingPool],
        gate: Gate,
        quick_jobs_before: int,
        seconds: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The refusal says in whole seconds when those before should be served, by how long jobs took of late."""
        now = itertools.count(step=0.001)  # every job takes a millisecond, on any machine
        monkeypatch.setattr(hashing_pool, "time", SimpleNamespace(perf_counter=lambda: next(now)))
        pool = make(1, queue=40)
        for _ in range(quick_jobs_before):
            await pool.run(add, 0, other=0)
        jobs = [asyncio.ensure_future(pool.run(gate.pass_through)) for _ in range(41)]
        await entered(gate)
        with pytest.raises(Busy) as refused:
            await pool.run(gate.pass_through)
        assert refused.value.retry_after == seconds  # a quarter of a second each, until one has been seen
        gate.opened.set()
        await asyncio.gather(*jobs)

    async def test_cancelled_while_waiting(self, make: Callable[..., HashingPool], gate: Gate) -> None:
        """Who is cancelled in the queue gives up the place, and the work is never done."""
        pool = make(1, queue=2)
        running = asyncio.ensure_future(pool.run(gate.pass_through, 0))
        await entered(gate)
        for _ in range(50):
            waiting = [asyncio.ensure_future(pool.run(gate.pass_through, 99)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await pool.run(gate.pass_through)
            for job in waiting:
                job.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        last = asyncio.ensure_future(pool.run(gate.pass_through, 1))
        gate.opened.set()
        assert [await running, await last] == [0, 1]
        assert gate.done == [0, 1]

    async def test_cancelled_while_running(self, make: Callable[..., HashingPool], gate: Gate) -> None:
        """Who is cancelled while the job runs is let go at once; the place is free when the thread is."""
        pool = make(1, queue=0)
        job = asyncio.ensure_future(pool.run(gate.pass_through, 0))
        await entered(gate)
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        with pytest.raises(Busy):
            await pool.run(gate.pass_through)
        gate.opened.set()
        async with asyncio.timeout(PATIENCE):
            while True:  # the thread notes that it is done a moment before it gives the place back
                with suppress(Busy):
                    assert await pool.run(gate.pass_through, 1) == 1
                    break
                await asyncio.sleep(0.005)
        assert gate.done == [0, 1]


class TestLoops:
    def test_one_after_the_other(self, make: Callable[..., HashingPool]) -> None:
        """One pool serves a loop after a loop, as a test client needs that starts one for each call."""
        pool, hasher = make(), PasswordHasher(bcrypt_cost=4)
        stored = asyncio.run(pool.run(hasher.hash, "correct horse"))
        for _ in range(20):
            assert asyncio.run(pool.run(hasher.verify, "correct horse", stored)).matches

    def test_side_by_side(self, make: Callable[..., HashingPool]) -> None:
        """Loops in several threads share one pool, started by whoever comes first, and each gets its own results."""
        pool, before = make(2, queue=1000), own_threads()
        results: dict[int, list[int]] = {}

        async def many(start: int) -> list[int]:
            return await asyncio.gather(*(pool.run(add, start, other=number) for number in range(100)))

        def loop(start: int) -> None:
            results[start] = asyncio.run(many(start))

        threads = [threading.Thread(target=loop, args=(start,)) for start in range(0, 800, 100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == {start: list(range(start, start + 100)) for start in range(0, 800, 100)}
        assert len(own_threads() - before) == 2

    def test_loop_gone(self, make: Callable[..., HashingPool], gate: Gate) -> None:
        """A loop that closed before its job was done does not harm the thread."""
        pool = make(1)
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(pool.run(gate.pass_through), 0.05))
        gate.opened.set()
        assert asyncio.run(pool.run(add, 1, other=2)) == 3


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Let objects end only when nothing refers to them, circles included."""
    gc.disable()
    yield
    gc.enable()


class TestEnd:
    async def test_close(self, make: Callable[..., HashingPool], gate: Gate) -> None:
        """Closing returns at once, finishes what runs, refuses what waits, and ends the threads."""
        before = own_threads()
        pool = make(1)
        running = asyncio.ensure_future(pool.run(gate.pass_through, 5))
        await entered(gate)
        waiting = asyncio.ensure_future(pool.run(gate.pass_through, 6))
        await asyncio.sleep(0)
        pool.close()
        with pytest.raises(Unavailable):
            await waiting
        gate.opened.set()
        assert await running == 5
        await until(lambda: own_threads() <= before)
        pool.close()
        assert gate.done == [5]

    async def test_after_close(self, make: Callable[..., HashingPool]) -> None:
        """A job after the end starts new threads: a lifespan may run twice."""
        pool = make(1)
        assert await pool.run(add, 1, other=1) == 2
        pool.close()
        assert await pool.run(add, 2, other=2) == 4

    async def test_forgotten(self) -> None:
        """A pool that nobody closed and nobody holds ends its threads."""
        before = own_threads()
        pool = HashingPool(2)
        await pool.run(add, 1, other=1)
        assert len(own_threads() - before) == 2
        del pool
        gc.collect()
        await until(lambda: own_threads() <= before)
        assert own_threads() <= before

    async def test_secrets_are_let_go(self, make: Callable[..., HashingPool], no_collector: None) -> None:
        """A thread that waits keeps no password and no result, neither after success nor after an error."""

        class Secret(str):
            """A text whose end can be seen."""

            __slots__ = ("__weakref__",)

        def echo(secret: Secret) -> Secret:
            return Secret(secret + "!")

        pool = make(1)
        seen: list[weakref.ref[Secret]] = []
        for function in (echo, int):
            secret = Secret("secret")
            result = await asyncio.gather(pool.run(function, secret), return_exceptions=True)
            seen.append(weakref.ref(secret))
            if isinstance(result[0], Secret):
                seen.append(weakref.ref(result[0]))
            del secret, result
            await until(lambda: not any(one() for one in seen))
        assert [one() for one in seen] == [None] * 3

    def test_interpreter_exits(self) -> None:
        """With jobs in every thread and a long queue the interpreter ends soon, after its threads."""
        program = """
            import asyncio, atexit, threading
            # Registered before limen's own, so it is called after that.
            names = lambda: [thread.name for thread in threading.enumerate()]
            atexit.register(lambda: print([name for name in names() if name.startswith("limen-hashing")]))
            from limen.crypto.hashing_pool import HashingPool
            from limen.crypto.passwords import PasswordHasher
            pool, hasher = HashingPool(2, queue=1000), PasswordHasher(bcrypt_cost=13)
            async def main():
                jobs = [asyncio.ensure_future(pool.run(hasher.hash, "words")) for _ in range(600)]
                await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            asyncio.run(main())
        """
        # 600 hashes of cost 13 take minutes, and are not waited for.
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=PATIENCE
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")

    def test_fork(self) -> None:
        """A child that forks after the first job has threads of its own."""
        program = """
            import asyncio, os, sys, warnings
            warnings.simplefilter("ignore")
            from limen.crypto.hashing_pool import HashingPool
            pool = HashingPool(2)
            assert asyncio.run(pool.run(len, "four")) == 4
            child = os.fork()
            assert asyncio.run(asyncio.wait_for(pool.run(len, "seven.."), 50)) == 7
            if child:
                sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=PATIENCE
        )
        assert (done.returncode, done.stderr) == (0, "")
