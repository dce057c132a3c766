"""The orders example's handler of messages: the rules of the route, for whoever has sent the message."""

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from examples.orders.database import Database
from examples.orders.models import Order
from examples.orders.worker import AUDIENCE, booking, handle, send
from limen import Limen, Principal, PrincipalKind
from limen.consumers import Consumer, Message, Outcome
from limen.features.roles.service import OPERATOR
from tests.examples.conftest import Shop


class Queue:
    """A service that sends, a consumer of its messages, and where their orders are."""

    def __init__(self, gate: Limen, store: Database) -> None:
        self.gate, self.store = gate, store
        self.consumer = Consumer(gate, booking(gate, store), audience=AUDIENCE)

    async def service(self, name: str, *roles: str) -> str:
        """Make a service and return its id."""
        assert self.gate.api_keys is not None
        return (await self.gate.api_keys.services.create(OPERATOR, name, roles=frozenset(roles))).id

    async def orders(self) -> list[Order]:
        """Return every order there is."""
        async with self.store.session() as session:
            return list(await session.scalars(select(Order)))

    async def told(self, service: str, body: str) -> Outcome:
        """Send a body, and handle it."""
        attributes = await self.gate.messages.attributes(service=service, audience=AUDIENCE, body=body)
        return await self.consumer.handle(Message(body.encode(), attributes))


@pytest.fixture
async def queue(shop: Shop, tmp_path: Path) -> AsyncIterator[Queue]:
    """A queue of the running example, whose orders are in the same file."""
    store = Database(tmp_path / "orders.db")
    yield Queue(shop.gate, store)
    await store.close()


async def test_an_order_that_is_sent_is_made_for_the_sender(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, however often the line comes; one that was changed on the way is refused, and so is one of nobody."""
    service = await queue.service("shop", "maker")
    line = await send(queue.gate, "shop", "an oak threshold", "120")
    unsigned = json.dumps({**json.loads(line), "attributes": {}})
    lines = [line, line, line.replace("an oak", "a golden"), unsigned]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{each}\n" for each in lines)))
    await handle(queue.gate, queue.store)
    assert [each.partition(":")[0] for each in capsys.readouterr().out.splitlines()] == [
        "handled",
        "repeated",
        "refused",
        "refused",
    ]
    (made,) = await queue.orders()
    assert (made.item, made.amount_cents, made.maker_id) == ("an oak threshold", 12_000, service)


async def test_who_may_not_make_orders_sends_none(queue: Queue) -> None:
    """The permission of the route is asked for, of the roles that the service has now."""
    await queue.service("reader", "checker")
    outcome = await queue.told("reader", '{"item": "oak", "amount": 1}')
    assert (outcome.verdict, outcome.code) == ("refused", "permission_required")
    assert await queue.orders() == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "oak",
        "[]",
        '{"item": "oak"}',
        '{"item": "oak", "amount": -1}',
        '{"item": "oak", "amount": 1, "status": "x"}',
    ],
)
async def test_what_is_no_order_is_refused(queue: Queue, body: str) -> None:
    """As on the route: it is handed back with a code, and is not tried again."""
    await queue.service("shop", "maker")
    outcome = await queue.told("shop", body)
    assert (outcome.verdict, outcome.code) == ("refused", "invalid_input")
    assert await queue.orders() == []


async def test_a_large_order_that_is_sent_asks_for_two(queue: Queue) -> None:
    """It waits for two others as one of the route does: asking takes no login."""
    service = await queue.service("shop", "maker")
    assert (await queue.told("shop", '{"item": "oak", "amount": 600000}')).verdict == "handled"
    (made,) = await queue.orders()
    assert (made.maker_id, made.status) == (service, "pending")
    assert made.approval_id is not None
    shown = await queue.gate.approvals.show(Principal(service, PrincipalKind.SERVICE), made.approval_id)
    assert (shown.status, shown.quorum, shown.payload["amount_cents"]) == ("pending", 2, 60_000_000)
