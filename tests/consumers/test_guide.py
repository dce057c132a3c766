"""The files of the guide «Messages» are run as printed, on SQLite, against a server that speaks like AWS."""

import asyncio
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import text

from limen.consumers import Consumer, Verdict
from limen.core.ids import uuid7
from tests.consumers.conftest import MakeClient
from tests.own_user.conftest import application_engine
from tests.own_user.guides import Guide

SHOP = """
from sqlalchemy import Column, MetaData, String, Table
from tests.own_user.conftest import application_engine
import os

engine = application_engine(os.environ["APP_DATABASE_URL"])
orders = Table("orders", MetaData(), Column("item", String), Column("sub", String))
"""


@pytest.fixture
def guide(tmp_path: Path, aws: str, client_of: MakeClient) -> Guide:
    """The page, its files written, a database to come, and two queues."""
    client = client_of("sqs")
    queues = [client.create_queue(QueueName=f"{name}-{uuid7()}")["QueueUrl"] for name in ("orders", "dead")]
    environment = {
        "LIMEN_DATABASE_URL": f"sqlite:///{tmp_path / 'limen.db'}",
        "APP_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'limen.db'}",
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
        "LIMEN_DATA_SECRETS": secrets.token_urlsafe(48),
        "LIMEN_BCRYPT_COST": "10",
        "AWS_ENDPOINT_URL": aws,
        "AWS_REGION": "eu-south-1",
        "AWS_DEFAULT_REGION": "eu-south-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "ORDERS": queues[0],
        "DEAD": queues[1],
    }
    page = Guide("messages", tmp_path, environment)
    page.write()
    return page


@pytest.fixture
def ready(guide: Guide) -> Guide:
    """The page after its setup."""
    guide.run(guide.commands()[0])
    return guide


@pytest.fixture
def worker(ready: Guide) -> Iterator[ModuleType]:
    """The consumer of the page, imported."""
    with ready.imported("worker") as module:
        yield module


def test_a_message_is_sent_and_handled(ready: Guide, client_of: MakeClient) -> None:
    """The lines of the page, pasted: the worker prints the order, ends at its signal, and the queues are empty."""
    assert "service orders an oak threshold" in ready.run(ready.commands()[1])
    client = client_of("sqs")
    for url in (ready.environment["ORDERS"], ready.environment["DEAD"]):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        assert list(found.values()) == ["0", "0"]


def test_a_lambda_handles_events(ready: Guide, worker: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Called twice, as a process that AWS keeps: what is right is handled, what is not is named."""

    async def told(body: str) -> dict[str, Any]:
        async with worker.gate.running():
            attributes = await worker.gate.messages.attributes(service="shop", audience="orders", body=body)
        return {name: {"stringValue": value, "dataType": "String"} for name, value in attributes.items()}

    with ready.imported("lambda_function") as module:
        for number in range(2):
            good = {
                "messageId": "1",
                "body": f"item {number}",
                "messageAttributes": asyncio.run(told(f"item {number}")),
            }
            bad = {"messageId": "2", "body": "nobody's", "messageAttributes": {}}
            answer = module.handler({"Records": [good, bad]}, None)
            assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert "item 0" in capsys.readouterr().out


async def test_the_record_is_made_with_the_work(ready: Guide) -> None:
    """A message that comes twice leaves one row."""
    (ready.place / "shop.py").write_text(SHOP, encoding="utf-8")
    with ready.imported("booking") as module:
        async with module.gate.running() as gate:
            engine = application_engine(ready.environment["APP_DATABASE_URL"])
            async with engine.begin() as connection:
                await connection.execute(text("CREATE TABLE orders (item TEXT, sub TEXT)"))
            from limen.consumers import Message

            attributes = await gate.messages.attributes(service="shop", audience="orders", body="one")
            consumer = Consumer(gate, module.book, audience="orders")
            verdicts = [(await consumer.handle(Message(b"one", attributes))).verdict for _ in range(2)]
            assert verdicts == [Verdict.HANDLED, Verdict.REPEATED]
            async with engine.connect() as connection:
                assert len((await connection.execute(text("SELECT item FROM orders"))).all()) == 1
            await engine.dispose()
            await sys.modules["shop"].engine.dispose()


async def test_a_stream_is_read(ready: Guide, client_of: MakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """What the service sent is handled, what nobody signed is handed back."""
    client = client_of("kinesis")
    name = f"orders-{uuid7()}"
    client.create_stream(StreamName=name, ShardCount=1)
    with ready.imported("stream") as module:
        async with module.gate.running():
            for data in (await module.record(b"a bench"), b"nobody's"):
                client.put_record(StreamName=name, Data=data, PartitionKey="a")
            reader = module.reader(name)
            await reader.poll()
            reader._client.close()
    out = capsys.readouterr().out
    assert "stream: a bench" in out
    assert "back: credential_missing" in out
