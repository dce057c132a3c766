"""Requests made from the demo's own schema, valid ones and broken ones: none of them may be a 5xx."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from limen import Limen, Settings
from tests.faults.servers import Nursery, Server, running
from tests.support.gates import PASSWORD

pytestmark = pytest.mark.serial

SECONDS = 60
"""The time for all operations together; what is left of it is shared by those that are left."""
EXAMPLES = 12


@pytest.fixture(scope="module")
def server(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The demo, with an account that may do everything."""
    folder = tmp_path_factory.mktemp("schema")
    with running(nursery, folder, application="demo", docs="on") as started:
        asyncio.run(_add_account(started))
        yield started


async def _add_account(server: Server) -> None:
    names = {
        name.removeprefix("LIMEN_").lower(): value for name, value in server.environment.items() if "LIMEN" in name
    }
    gate = Limen(Settings.load(**names))
    async with gate.running():
        await gate.accounts.create("everything", PASSWORD, roles=gate.catalogue.names)


@pytest.fixture(autouse=True)
def nothing_failed() -> None:
    """The demo writes its log for people; it is looked at below."""


def _operations(server: Server) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    return [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]


def _try(server: Server, operation: Any, mode: GenerationMode, statuses: Counter[int], deadline: float) -> None:
    """Send requests to one operation, with and without a token."""
    token = server.log_in("everything")["access_token"]

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_known=st.booleans())
    def send(case: Any, is_known: bool) -> None:
        if time.monotonic() > deadline:
            return
        headers = {"Authorization": f"Bearer {token}"} if is_known else {}
        answer = case.call(base_url=f"http://127.0.0.1:{server.port}", headers=headers)
        statuses[answer.status_code] += 1
        assert answer.status_code < 500 or answer.status_code == 503, answer.content
        assert answer.status_code != 503 or answer.json()["code"] == "busy"

    # An operation that reads nothing has nothing that could be broken.
    with contextlib.suppress(*([Unsatisfiable] if mode is GenerationMode.NEGATIVE else [])):
        send()


@pytest.mark.timeout(240)
def test_no_request_made_from_the_schema_is_a_5xx(server: Server) -> None:
    """Each operation of the schema answers valid, broken and odd requests, with and without a token, below 500."""
    operations = _operations(server)
    assert {operation.path for operation in operations} >= {
        "/auth/login",
        "/auth/register",
        "/auth/refresh",
        "/auth/logout",
        "/auth/me",
        "/auth/password",
        "/orders",
        "/orders/{order_id}/approve",
    }
    end = time.monotonic() + SECONDS
    rounds = [
        (operation, mode) for operation in operations for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    ]
    statuses: Counter[int] = Counter()
    for number, (operation, mode) in enumerate(rounds):
        now = time.monotonic()
        _try(server, operation, mode, statuses, now + (end - now) / (len(rounds) - number))
    assert sum(statuses.values()) > 5 * len(operations), statuses
    assert any(200 <= status < 300 for status in statuses)
    assert any(400 <= status < 500 for status in statuses)
    assert "Traceback" not in server.output()
