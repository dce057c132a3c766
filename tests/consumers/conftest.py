"""A gate with a service that sends messages, and queues of AWS over HTTP."""

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from limen import Limen
from limen.consumers import Consumer, GuardedMessage, Message
from limen.features.accounts.service import AccountView
from limen.features.roles.service import OPERATOR
from limen.storage.sql.messages import SQLMessages
from tests.own_user.conftest import Place, database_url, place
from tests.support.gates import gate_for

__all__ = ["MakeClient", "Sender", "Work", "counted", "database_url", "place", "until"]

AUDIENCE = "orders"


@dataclass
class Work:
    """A handler that notes what it was given."""

    done: list[GuardedMessage] = field(default_factory=list)

    @property
    def bodies(self) -> list[bytes]:
        return [message.body for message in self.done]

    async def __call__(self, message: GuardedMessage) -> None:
        self.done.append(message)


class Turned:
    """A clock that a test moves on, or stops."""

    shift = 0.0
    stopped_at: float | None = None

    def __call__(self) -> float:
        return time.time() + self.shift if self.stopped_at is None else self.stopped_at


@dataclass
class Sender:
    """A gate, and the service in whose name messages are sent."""

    gate: Limen
    service: AccountView
    clock: Turned

    async def attributes(self, body: bytes | str = b"body", **changes: Any) -> dict[str, Any]:
        """Return the attributes of a message for the orders."""
        told: dict[str, Any] = {"service": self.service.username, "audience": AUDIENCE, "body": body, **changes}
        return dict(await self.gate.messages.attributes(**told))

    async def message(self, body: bytes = b"body", **changes: Any) -> Message:
        """Return a message for the orders, as a queue would hand it on."""
        return Message(body, await self.attributes(body, **changes), "message-1")

    def consumer(self, handler: Callable[..., Any], **changes: Any) -> Consumer:
        """Return a consumer of the orders."""
        return Consumer(self.gate, handler, **{"audience": AUDIENCE, **changes})


async def sender_for(gate: Limen, clock: Turned | None = None) -> Sender:
    """Make the service of a started gate."""
    assert gate.api_keys is not None
    service = await gate.api_keys.services.create(OPERATOR, "shop", roles=frozenset({"maker"}))
    return Sender(gate, service, clock or Turned())


@pytest.fixture
async def sender(tmp_path: Path) -> AsyncIterator[Sender]:
    """A started gate on SQLite, its clock to turn, and a service with the role maker."""
    clock = Turned()
    async with gate_for(tmp_path, clock=clock).running() as gate:
        yield await sender_for(gate, clock)


@pytest.fixture
async def anywhere(place: Place) -> Sender:
    """The same on each engine, with the application's own engine beside it."""
    return await sender_for(place.gate)


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The address of a server that speaks like AWS."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


MakeClient = Callable[[str], Any]


@pytest.fixture
def client_of(aws: str) -> Iterator[MakeClient]:
    """Makes clients of boto3 for that server."""
    boto3 = importlib.import_module("boto3")
    made: list[Any] = []

    def make(service: str) -> Any:
        client = boto3.client(
            service,
            endpoint_url=aws,
            region_name="eu-south-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something outside of this process, or a worker, has come so far."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


def counted(monkeypatch: pytest.MonkeyPatch, verb: str) -> list[str]:
    """Count from now on how often a verb of the store of messages is asked: one entry each time."""
    asked: list[str] = []
    original = getattr(SQLMessages, verb)

    async def counting(self: SQLMessages, account_id: str, **more: Any) -> Any:
        asked.append(account_id)
        return await original(self, account_id, **more)

    monkeypatch.setattr(SQLMessages, verb, counting)
    return asked
