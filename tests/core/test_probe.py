import asyncio
import time

import pytest

from limen.core.errors import LimenError, Unavailable
from limen.core.probe import Probe


async def test_many_who_ask_share_one_question() -> None:
    """A thousand who ask at once, and those who ask within a second, cost one question; then there is another one."""
    asked = 0
    now = 100.0

    async def check() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)

    probe = Probe(check, keep=1.0, monotonic=lambda: now)
    await asyncio.gather(*(probe.ask() for _ in range(1000)))
    now += 0.9
    await probe.ask()
    assert asked == 1
    now += 0.1
    await probe.ask()
    assert asked == 2


async def test_what_does_not_answer_is_not_waited_for() -> None:
    """A check that hangs is `Unavailable` once the time is up, for everybody who asked."""
    probe = Probe(lambda: asyncio.sleep(60), wait=0.1)
    began = time.monotonic()
    outcomes = await asyncio.gather(*(probe.ask() for _ in range(10)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert time.monotonic() - began < 30


async def test_a_refusal_is_kept_and_forgotten() -> None:
    """What the check raised is told for the time that an answer counts, and no longer."""
    broken = True
    now = 100.0

    async def check() -> None:
        if broken:
            raise Unavailable("Nobody there.")

    probe = Probe(check, keep=1.0, monotonic=lambda: now)
    with pytest.raises(Unavailable, match="Nobody there"):
        await probe.ask()
    broken = False
    with pytest.raises(Unavailable, match="Nobody there"):
        await probe.ask()
    now += 1.0
    await probe.ask()


async def test_any_fault_is_a_no() -> None:
    """A check that fails in a way that nobody foresaw says no, and not how."""

    async def check() -> None:
        raise KeyError("a secret detail")

    with pytest.raises(LimenError) as caught:
        await Probe(check).ask()
    assert type(caught.value) is Unavailable
    assert "secret" not in str(caught.value)


async def test_one_who_gives_up_does_not_spoil_it_for_the_others() -> None:
    """The question goes on where one of those who wait for it is cancelled."""
    answering = asyncio.Event()

    async def check() -> None:
        await answering.wait()

    probe = Probe(check)
    impatient, patient = asyncio.create_task(probe.ask()), asyncio.create_task(probe.ask())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    answering.set()
    await patient
    assert impatient.cancelled()


def test_each_event_loop_asks_for_itself() -> None:
    """A probe that was asked in a loop that is closed by now can be asked in another one."""
    asked = []

    async def question() -> None:
        asked.append(asyncio.get_running_loop())

    probe = Probe(question, keep=60)
    for _ in range(2):
        asyncio.run(probe.ask())
    assert len(asked) == len(set(map(id, asked))) == 2
