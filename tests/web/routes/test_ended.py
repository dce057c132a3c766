"""``/auth/ended``: who may read it, what it tells, and how its parts follow each other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.core.ids import uuid7
from limen.features.api_keys.service import Wanted
from limen.features.roles.service import OPERATOR
from limen.features.sessions.feed import MOST, EndedFeed
from limen.features.sessions.store import Ended
from tests.support.gates import settings_for
from tests.web.routes.administering import ROLES, run, somebody

PATH = "/auth/ended"


@pytest.fixture
def gate(tmp_path: Path) -> Limen:
    """A gate with the roles of administration."""
    return Limen(settings_for(tmp_path), roles=ROLES)


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A client of an application with limen's routes."""
    app = Starlette()
    gate.protect(app)
    with TestClient(app) as client:
        yield client


def test_it_tells_ids_and_nothing_else(gate: Limen, client: TestClient) -> None:
    """What ended, until when it counts, and the place to go on from; whose it was and why, nobody is told here."""
    watcher, ann = somebody(gate, client, "watcher", "watcher"), somebody(gate, client, "ann")
    first = watcher.send("GET", PATH)
    assert (first.status_code, first.json()) == (200, {"items": [], "next": "0", "more": False})
    assert first.headers["cache-control"] == "no-store"
    client.post("/auth/logout", json={"refresh_token": ann.tokens["refresh_token"]})
    part = watcher.send("GET", PATH, params={"after": first.json()["next"]}).json()
    (item,) = part["items"]
    assert item.keys() == {"sid", "keep_until"}
    assert item["keep_until"].endswith("Z")
    assert part["more"] is False
    # The last seconds are read again: a transaction that ended late has an earlier time than what was told already.
    again = watcher.send("GET", PATH, params={"after": part["next"]}).json()
    assert again == part


def test_it_takes_the_permission(gate: Limen, client: TestClient) -> None:
    """Nobody, somebody, and a service without it are refused; a service with it is not."""
    assert client.get(PATH).status_code == 401
    assert somebody(gate, client, "ann", "reader").send("GET", PATH).status_code == 403
    assert gate.api_keys is not None
    keys = gate.api_keys
    for name, roles, expected in (("idle", (), 403), ("orders", ("watcher",), 200)):

        async def make(name: str = name, roles: Any = roles) -> str:
            service = await keys.services.create(OPERATOR, name, roles=frozenset(roles))
            return (await keys.service.create_for(OPERATOR, service.id, Wanted(name))).key

        key: str = run(client, make)
        assert client.get(PATH, headers={"X-API-Key": key}).status_code == expected


@pytest.mark.parametrize(
    "place", ["x", "-1", "01", "1.2", "1.", "9" * 17, "1" * 400, "1.01A204B2-500A-72A9-BCA5-A426F0C0BD7B", "%00"]
)
def test_places_that_nobody_named(gate: Limen, client: TestClient, place: str) -> None:
    """A fault of the caller, with a code, and never one of the server."""
    answer = somebody(gate, client, "watcher", "watcher").send("GET", PATH, params={"after": place})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


class Listed:
    """A list as the store answers it."""

    def __init__(self, entries: list[Ended]) -> None:
        self.entries = entries

    async def ended_since(self, since_ms: int) -> list[Ended]:
        """Answer what is in it from a time on, in order."""
        return sorted((each for each in self.entries if each.ended_at >= since_ms), key=lambda e: (e.ended_at, e.sid))


async def test_many_that_ended_at_once_come_in_parts() -> None:
    """A restored backup ends every session in one moment: all of them are told, each once in one reading."""
    entries = [Ended(uuid7(), 1_000_000, 2_000_000) for _ in range(2 * MOST + 5)]
    feed = EndedFeed(Listed(entries))  # type: ignore[arg-type]
    told: list[str] = []
    place, parts = None, 0
    while True:
        part = await feed.after(place)
        parts += 1
        told += [each.sid for each in part.items]
        place = part.next
        if not part.more:
            break
    assert (sorted(told), parts) == (sorted(each.sid for each in entries), 3)
    assert (await feed.after(place)).more is True


async def test_the_place_never_goes_back() -> None:
    """An empty part keeps the place that was asked for, so that the overlap is that of the last entry."""
    feed = EndedFeed(Listed([]))  # type: ignore[arg-type]
    assert (await feed.after("5000")).next == "5000"
    entries = [Ended(uuid7(), 3000, 9000)]
    assert (await EndedFeed(Listed(entries)).after("5000")).next == "5000"  # type: ignore[arg-type]
