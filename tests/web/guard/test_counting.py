"""What the guard decides is counted: by outcome, and where it refused, by the code of the refusal."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from limen.core import metrics
from limen.core.errors import Conflict
from limen.starlette import live, public, rate_limit, roles
from tests.support.gates import PASSWORD, gate_for

Counts = Counter[tuple[str, ...]]
Handler = Callable[[Request], Awaitable[Response]]


def answering() -> Handler:
    """Return a handler of its own, which answers everybody who gets as far."""

    async def answer(_request: Request) -> Response:
        return Response()

    return answer


async def conflicting(_request: Request) -> Response:
    """Refuse by itself, after the guard has let it in."""
    raise Conflict("Not now.")


def decisions() -> Counts:
    """Return what was counted so far."""
    return Counter({tuple(labels): int(number) for labels, number in metrics.GUARD_DECISIONS.read().samples})  # type: ignore[arg-type]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """An application whose only account holds no role; it has started, and its guard has tested itself."""
    foreign = Starlette(routes=[Route("/", answering())])

    async def other(scope: object, receive: object, send: object) -> None:
        await foreign(scope, receive, send)  # type: ignore[arg-type]

    app = Starlette(
        routes=[
            Route("/mine", answering()),
            Route("/open", public(answering())),
            Route("/makers", roles("maker")(answering())),
            Route("/live", live(answering())),
            Route("/live-makers", live(roles("maker")(answering()))),
            Route("/rare", rate_limit("1/hour")(answering())),
            Route("/conflict", conflicting),
            Mount("/inside", routes=[Route("/mine", answering()), Route("/makers", roles("maker")(answering()))]),
            Mount("/foreign", app=other),
        ]
    )
    gate = gate_for(tmp_path)
    gate.protect(app)
    gate.mount_rule("/foreign", roles("maker"))
    with TestClient(app) as started:
        yield started


@pytest.fixture
def bearer(client: TestClient) -> dict[str, str]:
    """The header of somebody who has logged in."""
    client.post("/auth/register", json={"username": "ann", "password": PASSWORD})
    answer = client.post("/auth/login", json={"username": "ann", "password": PASSWORD})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.mark.parametrize(
    ("path", "status", "counted"),
    [
        ("/mine", 200, ("allowed", "")),
        ("/open", 200, ("allowed", "")),
        ("/live", 200, ("allowed", "")),
        ("/inside/mine", 200, ("allowed", "")),
        ("/makers", 403, ("refused", "role_required")),
        ("/live-makers", 403, ("refused", "role_required")),
        ("/inside/makers", 403, ("refused", "role_required")),
        ("/foreign/", 403, ("refused", "role_required")),
        ("/conflict", 409, ("allowed", "")),
    ],
)
def test_each_decision_is_one(
    client: TestClient, bearer: dict[str, str], path: str, status: int, counted: tuple[str, str]
) -> None:
    """At the first request and at later ones, asked first or not; what a handler refuses is not the guard's."""
    before = decisions()
    for _ in range(3):
        assert client.get(path, headers=bearer).status_code == status
    assert decisions() - before == Counter({counted: 3})


def test_a_refusal_is_counted_by_its_reason(client: TestClient, bearer: dict[str, str]) -> None:
    """Nobody, a credential that is none, one too many; what no route is has no decision."""
    before = decisions()
    assert client.get("/mine").status_code == 401
    assert client.get("/mine", headers={"Authorization": "Bearer nonsense"}).status_code == 401
    assert [client.get("/rare", headers=bearer).status_code for _ in range(2)] == [200, 429]
    assert client.get("/nowhere", headers=bearer).status_code == 404
    assert decisions() - before == Counter(
        {
            ("refused", "credential_missing"): 1,
            ("refused", "token_invalid"): 1,
            ("allowed", ""): 1,
            ("refused", "rate_limited"): 1,
        }
    )


def test_no_count_is_lost_between_threads() -> None:
    """Eight threads raise one number without a lock."""
    counter = metrics.Counter("limen_test_total", "For a test.", ("outcome",))
    metrics.families()  # reading disturbs nothing
    tally, times = counter.tally("allowed"), 20_000

    def raise_it() -> None:
        for _ in range(times):
            tally.number += 1

    threads = [Thread(target=raise_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.read().samples == [(("allowed",), 8 * times)]
    counter.forget()
    assert counter.read().samples == [(("allowed",), 0)]
