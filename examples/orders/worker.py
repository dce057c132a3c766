"""Orders that come as messages: whoever has sent one is asked for the same permission as on the route.

The queue is a pipe here, with a line for each message, so that it takes nothing else to try it::

    worker send SERVICE ITEM AMOUNT | worker handle

With a queue of AWS, `SqsConsumer` of `limen.consumers.sqs` takes the place of `handle`; `booking` stays as it is.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import ValidationError

from limen import InvalidInput, Limen
from limen.consumers import Consumer, GuardedMessage, Message, once, permissions

from .approvals import declare  # noqa: TID252 - works under any name
from .database import Database  # noqa: TID252
from .policies import POLICIES  # noqa: TID252
from .roles import ROLES, Permission  # noqa: TID252
from .schemas import NewOrder, cents  # noqa: TID252
from .service import OrderService  # noqa: TID252

AUDIENCE = "orders"
"""Whom the messages are for."""


def booking(gate: Limen, store: Database) -> Callable[[GuardedMessage], Awaitable[None]]:
    """Return the handler that makes the order of a message, for whoever has sent it, and once."""

    @permissions(Permission.CREATE)
    @once
    async def book(message: GuardedMessage) -> None:
        try:
            order = NewOrder.model_validate_json(message.body)
        except ValidationError:
            raise InvalidInput("The message is no order.") from None
        async with store.session() as session:
            await OrderService(session, gate).create(
                message.principal, item=order.item, amount_cents=cents(order.amount)
            )

    return book


async def send(gate: Limen, service: str, item: str, amount: str) -> str:
    """Return an order as a message of this service."""
    body = json.dumps({"item": item, "amount": float(amount)})
    attributes = await gate.messages.attributes(service=service, audience=AUDIENCE, body=body)
    return json.dumps({"body": body, "attributes": dict(attributes)})


async def handle(gate: Limen, store: Database) -> None:
    """Handle the messages of the standard input, and say what became of each."""
    orders = Consumer(gate, booking(gate, store), audience=AUDIENCE)
    while line := await asyncio.to_thread(sys.stdin.readline):
        told = json.loads(line)
        outcome = await orders.handle(Message(told["body"].encode(), told["attributes"]))
        print(": ".join(filter(None, (outcome.verdict, outcome.reason))), flush=True)


async def main(act: str, *told: str) -> None:
    """Send or handle, with the settings of the environment; ORDERS_DATABASE names the SQLite file of the orders."""
    store = Database(Path(os.environ.get("ORDERS_DATABASE", "orders.db")))
    try:
        gate = Limen.from_env(roles=ROLES, policies=POLICIES)
        declare(gate, store)
        async with gate.running():
            if act == "send":
                print(await send(gate, *told))
            else:
                await handle(gate, store)
    finally:
        await store.close()


if __name__ == "__main__":
    # What is refused is printed; the log is for what fails.
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(main(*sys.argv[1:]))
