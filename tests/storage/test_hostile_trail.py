"""What SQLite takes into a column of the trail though it is of another type, or no text at all."""

from collections.abc import Callable

import pytest

from limen.features.audit.service import AuditService
from limen.features.audit.verification import Fault
from limen.features.events.service import EventService
from limen.storage import SQLiteStorage
from limen.testing.contracts.contract import event

SECRET = "a secret of the data of these tests"
LAST = "WHERE seq = (SELECT max(seq) FROM limen_events)"
SECOND_SEAL = "WHERE number = 2"


async def sealed(storage: SQLiteStorage, *, count: int) -> AuditService:
    """Write so many records and seal them; return what did."""
    for _ in range(count):
        await storage.sessions.record(event())
    trail = AuditService(storage.audit, [SECRET])
    await trail.seal()
    return trail


@pytest.mark.parametrize(
    "value",
    [
        "data = '{'",
        "actor = CAST(x'ff' AS text)",
        "data = CAST(x'ff' AS text)",
        "user_agent = x'ff'",
        "time = 'abc'",
        "time = x'ff'",
    ],
)
@pytest.mark.parametrize("is_sealed", [True, False])
async def test_a_record_of_other_types(
    value: str, is_sealed: bool, storage: SQLiteStorage, by_hand: Callable[[str], None]
) -> None:
    """A record that is no text, or of another type, is found and listed, and what comes after it is sealed."""
    trail = await sealed(storage, count=2)
    if not is_sealed:
        await storage.sessions.record(event())
    by_hand(f"UPDATE limen_events SET {value} {LAST}")
    assert (await storage.audit.due()).waits is not is_sealed
    trail = await sealed(storage, count=1)
    verdict = await trail.verify()
    assert [found.fault for found in verdict.findings] == [Fault.CHANGED]
    assert verdict.waiting == 0
    page = await EventService(storage.trail).page(limit=10)
    assert [record.is_damaged for record in page.items][-2:] == [True, False]


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        (f"UPDATE limen_trail SET link = 'abc' {SECOND_SEAL}", Fault.BROKEN),
        (f"UPDATE limen_trail SET digest = CAST(x'ff' AS text) {SECOND_SEAL}", Fault.BROKEN),
        (f"UPDATE limen_trail SET details = 'abc', nonce = NULL {SECOND_SEAL}", Fault.CHANGED),
        (f"UPDATE limen_trail SET nonce = 'abc' {SECOND_SEAL}", Fault.CHANGED),
        (f"UPDATE limen_trail SET sealed_at = 'abc' {SECOND_SEAL}", Fault.BROKEN),
        (f"UPDATE limen_trail SET kid = CAST(x'ff' AS text) {SECOND_SEAL}", Fault.UNKNOWN_KEY),
        (f"UPDATE limen_trail SET seq = 'abc' {SECOND_SEAL}", Fault.REMOVED),
        ("UPDATE limen_trail_head SET number = 'abc'", Fault.BROKEN),
        ("UPDATE limen_trail_head SET floor = 'abc'", Fault.BROKEN),
        ("UPDATE limen_trail_head SET link = CAST(x'ff' AS text)", Fault.BROKEN),
        ("UPDATE limen_trail_head SET head_mac = 'abc'", Fault.BROKEN),
        ("UPDATE limen_trail_head SET head_kid = CAST(x'ff' AS text)", Fault.UNKNOWN_KEY),
        (
            "UPDATE limen_trail_head SET base_number = 1, base_link = 'a', base_kid = x'ff', base_mac = 'b'",
            Fault.REMOVED,
        ),
    ],
)
async def test_a_chain_of_other_types(
    statement: str, fault: Fault, storage: SQLiteStorage, by_hand: Callable[[str], None]
) -> None:
    """A seal or a place of another type is found, ends no verification, and what comes is sealed."""
    await sealed(storage, count=3)
    by_hand(statement)
    trail = await sealed(storage, count=1)
    assert (await trail.head()).number == 4
    assert fault in {found.fault for found in (await trail.verify()).findings}
