"""The sealed trail handed on: receivers that are down, processes that die, chains that are cut. Nothing is left out."""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limen.authn.outbound import Outbound
from limen.core.events import Event, EventName, Origin
from limen.features.audit import handing_on
from limen.features.audit.checkpoints import checkpoints_in
from limen.features.audit.handing_on import HandingOn, TrailSinks
from limen.features.audit.service import AuditService
from limen.features.audit.sinks import Batch, FileSink, Sink
from limen.features.audit.syslog import SyslogSink
from limen.features.audit.webhook import WebhookSink
from limen.storage import SQLiteStorage
from limen.storage.sql.statement import Statement, Steps, run
from tests.features.audit.receivers import Receiver, Syslog, Webhook
from tests.features.audit.test_sinks import SECRET as SIGNS
from tests.support.gates import PASSWORD, gate_for
from tests.support.ports import free_port
from tests.support.processes import uncounted
from tests.support.waiting import until

SECRET = "a secret of the data of these tests"

ACTS = """
import asyncio, sys
from limen.authn.outbound import Outbound
from limen.core.events import Event, EventName
from limen.features.audit.building import build_sinks
from limen.features.audit.service import AuditService
from limen.storage import SQLiteStorage

async def act(storage):
    while True:
        await storage.sessions.record(Event(EventName.REFRESHED))

async def repeat(work):
    while True:
        await work()
        await asyncio.sleep(0.002)

async def main():
    path, secret, signs, *urls = sys.argv[1:]
    storage = SQLiteStorage(path)
    await storage.start()
    trail = AuditService(storage.audit, [secret])
    outbound = Outbound(allow_private=["127.0.0.0/8"])
    sinks = build_sinks(urls, [signs], audit=trail, trail=storage.audit, states=storage.sinks, outbound=outbound,
                        clock=lambda: 1.7e9)
    await asyncio.gather(act(storage), repeat(trail.seal), *(repeat(each.work) for each in sinks.each))

asyncio.run(main())
"""


class Clock:
    """A clock that is turned."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    """The clock of the storage."""
    return Clock()


@pytest.fixture
async def storage(tmp_path: Path, clock: Clock) -> AsyncIterator[SQLiteStorage]:
    """A storage whose clock is turned."""
    storage = SQLiteStorage(tmp_path / "limen.db", clock=clock)
    await storage.start()
    yield storage
    await storage.stop()


@pytest.fixture
def trail(storage: SQLiteStorage) -> AuditService:
    """What seals."""
    return AuditService(storage.audit, [SECRET], sinks=storage.sinks)


def handing(storage: SQLiteStorage, trail: AuditService, sink: Sink) -> HandingOn:
    """Return what hands on to this sink."""
    return HandingOn(sink, storage.audit, storage.sinks, trail.checkpoint)


async def acts(storage: SQLiteStorage, trail: AuditService, count: int) -> None:
    """Let so much happen, and seal it."""
    for _ in range(count):
        await storage.sessions.record(Event(EventName.REFRESHED))
    while await trail.seal():
        pass


def places(path: Path) -> list[int]:
    """Return the places of the records in a file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["seal"]["place"] for line in lines if "seal" in line]


def to_webhook(port: int) -> WebhookSink:
    """Return a sink at a receiver on this machine."""
    outbound = Outbound(allow_private=["127.0.0.0/8"])
    return WebhookSink(f"http://127.0.0.1:{port}/", [SIGNS], outbound=outbound, clock=lambda: 1.7e9)


async def test_every_place_once_in_order(
    storage: SQLiteStorage, trail: AuditService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In full batches and in parts, whatever comes meanwhile; where nothing is new nothing is handed on or written."""
    monkeypatch.setattr(handing_on, "MOST_ITEMS", 4)
    path = tmp_path / "trail.jsonl"
    sink = handing(storage, trail, FileSink(path))
    assert await sink.work() == 0
    await acts(storage, trail, 10)
    assert (await sink.work(), await sink.work()) == (10, 0)
    await acts(storage, trail, 4)
    assert (await sink.work(), sink.lag_ms) == (4, 0)
    assert places(path) == list(range(1, 15))
    size, calls = path.stat().st_size, storage.calls
    assert await sink.work() == 0
    assert (path.stat().st_size, storage.calls - calls) == (size, 1)


async def test_lines_are_those_of_the_export(storage: SQLiteStorage, trail: AuditService, tmp_path: Path) -> None:
    """A line bears the whole record and its seal, in ASCII, so that a receiver can hold them against a checkpoint."""
    origin = Origin("request-1", "192.0.2.7", "brow\u2028ser")
    await storage.sessions.record(Event(EventName.LOGIN_FAILED, actor="a", target="t", origin=origin, data={"ä": 1}))
    await acts(storage, trail, 0)
    await handing(storage, trail, FileSink(tmp_path / "trail.jsonl")).work()
    record, point = map(json.loads, (tmp_path / "trail.jsonl").read_text("ascii").splitlines())
    assert (record["event"], record["source"], record["data"]) == ("login_failed", "192.0.2.7", {"ä": 1})
    assert record["time"] == "2023-11-14T22:13:20.000Z"
    assert record["user_agent"] == "brow\u2028ser"
    assert record["seal"]["link"] == point["checkpoint"]["link"]


async def test_checkpoints_come_along(
    storage: SQLiteStorage, trail: AuditService, tmp_path: Path, clock: Clock
) -> None:
    """Each hour a sink is handed where the chain stands, signed; what is in it verifies, and finds a cut."""
    path = tmp_path / "trail.jsonl"
    sink = handing(storage, trail, FileSink(path))
    for _ in range(3):
        await acts(storage, trail, 2)
        await sink.work()
        clock.seconds += 3601
    assert await sink.work() == 0
    await sink.work()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    points = checkpoints_in(json.dumps(line["checkpoint"]) for line in lines if "checkpoint" in line)
    assert [point.number for point in points] == [2, 4, 6, 6]
    verdict = await trail.verify(points)
    assert (verdict.checkpoints, verdict.count) == (4, 0)


async def test_a_receiver_that_is_down_delays_and_loses_nothing(
    storage: SQLiteStorage, trail: AuditService, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again after pauses that grow, the lag is told meanwhile, and then everything comes, in order."""
    port = free_port()
    sink = handing(storage, trail, to_webhook(port))
    await acts(storage, trail, 3)
    with caplog.at_level(logging.WARNING, logger="limen"):
        for attempt in range(1, 4):
            assert await sink.work() == 0
            state = await storage.sinks.state(sink.name)
            assert (state.attempts, state.place, state.is_free) == (attempt, 0, False)
            assert await sink.work() == 0
            clock.seconds += 2.0 ** (attempt - 1)
    told = [vars(record) for record in caplog.records if hasattr(record, "sink")]
    reason = "the receiver was not reached (unreachable)"
    assert [(each["sink"], each["reason"]) for each in told] == [(sink.name, reason)] * 3
    clock.seconds += 400
    await acts(storage, trail, 2)
    async with Webhook(SIGNS).listening(port) as receiver:
        receiver.statuses = [503]
        assert await sink.work() == 0
        assert sink.is_behind
        clock.seconds += 400
        assert await sink.work() == 5
    assert receiver.places == [1, 2, 3, 4, 5]
    assert (sink.lag_ms, (await storage.sinks.state(sink.name)).attempts) == (0, 0)


async def test_a_syslog_server_that_hangs_up_in_the_middle(
    storage: SQLiteStorage, trail: AuditService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had read comes again, and nothing is left out."""
    monkeypatch.setattr(handing_on, "MOST_ITEMS", 5)
    async with Syslog().listening() as server:
        server.hang_up_after = 3
        sink = handing(storage, trail, SyslogSink(f"syslog+tcp://127.0.0.1:{server.port}"))
        await acts(storage, trail, 12)
        await sink.work()
        clock.seconds += 400
        await sink.work()
    assert server.distinct == list(range(1, 13))


async def test_a_hanging_sink_holds_nobody_up(
    storage: SQLiteStorage, trail: AuditService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up after its time; others, and those who log in, do not wait for it."""

    class Hanging:
        name = "hanging"

        async def send(self, batch: Batch) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(handing_on, "MOST_SECONDS", 0.2)
    await acts(storage, trail, 2)
    work = asyncio.create_task(handing(storage, trail, Hanging()).work())
    await acts(storage, trail, 2)
    assert await work == 0
    assert (await storage.sinks.state("hanging")).failure == "nothing was taken within 0.2 s"


async def test_two_processes_hand_on_in_turn(storage: SQLiteStorage, trail: AuditService, tmp_path: Path) -> None:
    """Of those that come at once one hands on, so that nothing comes twice."""
    path = tmp_path / "trail.jsonl"
    sinks = [handing(storage, trail, FileSink(path)) for _ in range(6)]
    await acts(storage, trail, 300)
    counts = await asyncio.gather(*(sink.work() for sink in sinks))
    assert sum(counts) == 300
    assert places(path) == list(range(1, 301))


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_chain_that_was_cut_is_handed_on_anew(
    goes_on: bool, storage: SQLiteStorage, trail: AuditService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A place that means another record now is not passed by: it is said, and everything comes again."""
    path = tmp_path / "trail.jsonl"
    sink = handing(storage, trail, FileSink(path))
    await acts(storage, trail, 4)
    await sink.work()
    await storage.write(cut)
    await acts(storage, trail, 6 if goes_on else 2)
    with caplog.at_level(logging.ERROR, logger="limen.features.audit.handing_on"):
        await sink.work()
        await sink.work()
    assert places(path) == [1, 2, 3, 4, *range(1, 7 if goes_on else 3)]
    messages = [each.getMessage() for each in caplog.records if each.name.endswith("handing_on")]
    assert messages == ["the sealed trail is not the one that a sink was handed; it is handed on from its beginning"]


def cut() -> Steps[None]:
    """Cut off the whole chain, and set back where it stands."""
    yield from run(Statement("DELETE FROM limen_events"))
    yield from run(Statement("DELETE FROM limen_trail"))
    yield from run(Statement("UPDATE limen_trail_head SET number = 0, link = NULL, floor = 0, head_mac = NULL"))


async def test_what_was_removed_by_retention_is_no_other_chain(
    storage: SQLiteStorage, trail: AuditService, tmp_path: Path, clock: Clock
) -> None:
    """After everything that a sink has taken was removed it goes on behind it."""
    path = tmp_path / "trail.jsonl"
    sink = handing(storage, trail, FileSink(path))
    await acts(storage, trail, 4)
    await sink.work()
    clock.seconds += 100
    await acts(storage, trail, 2)
    assert await trail.prune(int(clock.seconds * 1000) - 50_000, actor="cli") == 4
    await acts(storage, trail, 0)
    await sink.work()
    assert places(path) == [1, 2, 3, 4, 5, 6, 7]


async def test_killed_in_the_middle(tmp_path: Path) -> None:
    """After kill -9 whoever comes next goes on; a file, a syslog server and a receiver have each place, in order."""
    database, path = tmp_path / "limen.db", tmp_path / "trail.jsonl"
    async with Syslog().listening() as syslog, Webhook(SIGNS).listening() as webhook:
        urls = [f"file://{path}", f"syslog+tcp://127.0.0.1:{syslog.port}", f"http://127.0.0.1:{webhook.port}/"]
        receivers: list[Receiver] = [syslog, webhook]
        for reached in (30, 60):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", ACTS, str(database), SECRET, SIGNS, *urls, env=uncounted()
            )

            def are_reached(reached: int = reached) -> bool:
                return min(len(each.distinct) for each in receivers) >= reached and path.exists()

            await until(are_reached, "what is handed on")
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await forget_leases(database)
        last = await rest(database, [f"{url}" for url in urls])
        assert sorted(set(places_of_torn(path))) == list(range(1, last + 1))
        for each in receivers:
            assert each.distinct == list(range(1, last + 1))
        assert webhook.forged == 0


def places_of_torn(path: Path) -> list[int]:
    """Return the places in a file whose writer was killed: half a line is no line."""
    found = []
    for line in path.read_text().splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if "seal" in told:
            found.append(told["seal"]["place"])
    return found


async def forget_leases(database: Path) -> None:
    """End the rights of a process that is dead, as the time would."""
    storage = SQLiteStorage(database)
    await storage.start()
    await storage.write(ended)
    await storage.stop()


def ended() -> Steps[None]:
    """End every right."""
    yield from run(Statement("UPDATE limen_trail_sinks SET lease_until = 0, next_at = 0"))


async def rest(database: Path, urls: list[str]) -> int:
    """Seal and hand on what is left; return the last place."""
    from limen.features.audit.building import build_sinks

    storage = SQLiteStorage(database)
    await storage.start()
    try:
        trail = AuditService(storage.audit, [SECRET])
        while await trail.seal():
            pass
        sinks: TrailSinks = build_sinks(
            urls,
            [SIGNS],
            audit=trail,
            trail=storage.audit,
            states=storage.sinks,
            outbound=Outbound(allow_private=["127.0.0.0/8"]),
            clock=lambda: 1.7e9,
        )
        for each in sinks.each:
            while await each.work():
                pass
        assert (await trail.verify()).count == 0
        return (await trail.head()).number
    finally:
        await storage.stop()


async def test_a_gate_hands_on_what_happens(tmp_path: Path) -> None:
    """It is enough to name a sink; one that cannot be written holds up no login, and readiness waits to tell."""
    path = tmp_path / "trail.jsonl"
    gate = gate_for(tmp_path, audit_sinks=f"file://{path},file://{tmp_path}/nowhere/trail.jsonl")
    async with gate.running():
        await gate.accounts.create("ann", PASSWORD)
        await gate.login.login("ann", PASSWORD, origin=Origin())

        def is_there() -> bool:
            return path.exists() and "login_succeeded" in path.read_text()

        await until(is_there, "the login in the file")

        async def is_told() -> bool:
            return all(state.attempts or state.place for state, _ in await gate.sinks.states())

        await until(is_told, "the failure of the other one")
        found = {state.name: (state.failure, is_set) for state, is_set in await gate.sinks.states()}
        assert await gate.ready() == {}
    assert found == {
        f"file://{path}": ("", True),
        f"file://{tmp_path}/nowhere/trail.jsonl": ("the file cannot be written: ENOENT", True),
    }
