"""`rate_limit` on the routes of an application, on both doors: what is counted, for whom, and what is told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from limen import fastapi, starlette
from limen.core.errors import ConfigurationError, NotFound, Unavailable
from limen.features.throttling.counting import Throttle
from limen.features.throttling.memory import MemoryThrottles
from limen.features.throttling.store import Take
from limen.testing.clock import TurnableClock
from limen.web.guard import protect
from tests.web.guard.kit import SmallGate

CHECKER = {"Authorization": "Bearer checker"}
Wrap: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
ADMIN = {"Authorization": "Bearer admin"}


@dataclass
class House:
    """An application to be made, with one door or the other."""

    door: Any
    app: Any
    gate: SmallGate
    clock: TurnableClock

    def route(self, path: str, endpoint: Callable[..., Any]) -> None:
        """Register an endpoint."""
        if isinstance(self.app, FastAPI):
            self.app.add_api_route(path, endpoint)
        else:
            self.app.router.routes.append(Route(path, endpoint))

    def rate_limit(self, *rates: str, **told: Any) -> Wrap:
        """Return a limit."""
        return self.door.rate_limit(*rates, **told)  # type: ignore[no-any-return]

    def roles(self, *names: str) -> Wrap:
        """Return a requirement of roles."""
        return self.door.roles(*names)  # type: ignore[no-any-return]

    def client(self) -> TestClient:
        """Put it under guard, and return a client."""
        protect(self.app, self.gate)
        return TestClient(self.app)


def house_of(door: Any) -> House:
    """Make an application whose gate counts by a clock to turn."""
    clock = TurnableClock(1_000_000)
    gate = SmallGate(throttle=Throttle(MemoryThrottles(clock), secret="counts"))
    return House(door, FastAPI() if door is fastapi else Starlette(), gate, clock)


@pytest.fixture(params=[fastapi, starlette], ids=["fastapi", "starlette"])
def house(request: pytest.FixtureRequest) -> House:
    """An application for each door."""
    return house_of(request.param)


async def answer(request: Request) -> PlainTextResponse:
    """Answer."""
    return PlainTextResponse("done")


def limited(house: House, *rates: str, **told: Any) -> Callable[..., Any]:
    """Return a handler with a limit."""

    @house.rate_limit(*rates, **told)
    async def handler(request: Request) -> PlainTextResponse:
        return PlainTextResponse("done")

    return handler


def codes(client: TestClient, path: str, times: int, **more: Any) -> list[int]:
    """Ask so often, and return the status codes."""
    return [client.get(path, **more).status_code for _ in range(times)]


def test_who_calls_too_often_is_told_when_to_come_again(house: House) -> None:
    """429, a problem with Retry-After and the fields; what is left is told with each answer before."""
    house.route("/", limited(house, "2/minute"))
    with house.client() as client:
        for left in (1, 0):
            given = client.get("/", headers=CHECKER)
            assert given.text == "done"
            assert given.headers["ratelimit-policy"] == '"2-per-minute";q=2;w=60'
            assert given.headers["ratelimit"] == f'"2-per-minute";r={left};t=60'
        house.clock.turn(20)
        refused = client.get("/", headers=CHECKER)
        assert refused.status_code == 429
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] == "rate_limited"
        assert refused.headers["retry-after"] == "40"
        assert refused.headers["ratelimit"] == '"2-per-minute";r=0;t=40'
        house.clock.turn(40)
        assert client.get("/", headers=CHECKER).status_code == 200


def test_each_account_has_its_own(house: House) -> None:
    """Wherever it calls from; who is refused for want of a credential is not counted."""
    house.route("/", limited(house, "2/minute"))
    with house.client() as client:
        assert codes(client, "/", 5) == [401] * 5
        assert codes(client, "/", 3, headers=CHECKER) == [200, 200, 429]
        assert codes(client, "/", 3, headers=ADMIN) == [200, 200, 429]


def test_where_nobody_is_known_it_is_the_network(house: House) -> None:
    """On a public route, and for a credential it is the account all the same."""
    house.route("/", house.door.public(limited(house, "2/minute")))
    with house.client() as client:
        assert codes(client, "/", 3) == [200, 200, 429]
        assert codes(client, "/", 3, headers=CHECKER) == [200, 200, 429]
    with TestClient(house.app, client=("testclient-2", 1)) as other:
        assert codes(other, "/", 1) == [429]
    with TestClient(house.app, client=("192.0.2.7", 1)) as other:
        assert codes(other, "/", 3) == [200, 200, 429]
    with TestClient(house.app, client=("192.0.2.250", 1)) as other:
        assert codes(other, "/", 1) == [429]


def test_the_network_may_be_asked_for(house: House) -> None:
    """Then all accounts behind it share."""
    house.route("/", limited(house, "2/minute", key="network"))
    with house.client() as client:
        assert codes(client, "/", 2, headers=CHECKER) == [200, 200]
        assert codes(client, "/", 1, headers=ADMIN) == [429]


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_function_says_for_whom(house: House, kind: str) -> None:
    """Of the request, its path parameters among it."""

    def by_tenant(request: Request) -> str:
        return str(request.path_params["tenant"])

    async def by_tenant_later(request: Request) -> str:
        return by_tenant(request)

    key = by_tenant if kind == "sync" else by_tenant_later
    house.route("/{tenant}", limited(house, "2/minute", key=key))
    with house.client() as client:
        assert codes(client, "/red", 3, headers=CHECKER) == [200, 200, 429]
        assert codes(client, "/blue", 1, headers=CHECKER) == [200]
        assert codes(client, "/red", 1, headers=ADMIN) == [429]


def test_a_function_that_fails_lets_nobody_in(house: House) -> None:
    """What raises, and what returns no text, is 500; an error of limen's is answered as it is."""

    def raises(request: Request) -> str:
        raise KeyError(request.url.path)

    def absent(request: Request) -> str:
        raise NotFound()

    house.route("/raises", limited(house, "2/minute", key=raises))
    house.route("/none", limited(house, "2/minute", key=lambda request: None))
    house.route("/absent", limited(house, "2/minute", key=absent))
    with house.client() as client:
        found = [client.get(path, headers=CHECKER) for path in ("/raises", "/none", "/absent")]
        assert [each.status_code for each in found] == [500, 500, 404]
        assert all("done" not in each.text for each in found)


def test_several_limits_hold_together(house: House) -> None:
    """All are counted or none; the one that is reached is told."""

    @house.rate_limit("3/hour", name="slow")
    @house.rate_limit("2/minute", "100/day")
    async def handler(request: Request) -> PlainTextResponse:
        return PlainTextResponse("done")

    house.route("/", handler)
    with house.client() as client:
        first = client.get("/", headers=CHECKER)
        assert first.headers["ratelimit-policy"] == (
            '"2-per-minute";q=2;w=60, "100-per-day";q=100;w=86400, "slow-3-per-hour";q=3;w=3600'
        )
        assert codes(client, "/", 4, headers=CHECKER) == [200, 429, 429, 429]
        house.clock.turn(60)
        assert codes(client, "/", 1, headers=CHECKER) == [200]
        refused = client.get("/", headers=CHECKER)
        assert refused.status_code == 429
        assert refused.headers["ratelimit"] == '"slow-3-per-hour";r=0;t=3540'


def test_each_function_counts_for_itself_unless_a_name_is_shared(house: House) -> None:
    """One function under two paths is one; two that say one name are one."""

    @house.rate_limit("2/minute")
    async def twice(request: Request) -> PlainTextResponse:
        return PlainTextResponse("done")

    @house.rate_limit("2/minute")
    async def alone(request: Request) -> PlainTextResponse:
        return PlainTextResponse("done")

    house.route("/one", twice)
    house.route("/two", twice)
    house.route("/alone", alone)
    house.route("/red", limited(house, "2/minute", name="export"))
    house.route("/blue", house.rate_limit("2/minute", name="export")(lambda request: PlainTextResponse("done")))
    with house.client() as client:
        paths = ["/one", "/two", "/one", "/alone", "/red", "/blue", "/red"]
        found = [client.get(path, headers=CHECKER).status_code for path in paths]
    assert found[:4] == [200, 200, 429, 200]
    if house.door is starlette:
        assert found[4:] == [200, 200, 429]


def test_it_restricts_nobody_and_opens_nothing(house: House) -> None:
    """Beside roles both hold, in either order; without anything else somebody has to be authenticated."""

    @house.rate_limit("2/minute")
    @house.roles("admin")
    async def outside(request: Request) -> PlainTextResponse:
        return PlainTextResponse("done")

    @house.roles("admin")
    @house.rate_limit("2/minute")
    async def inside(request: Request) -> PlainTextResponse:
        return PlainTextResponse("done")

    house.route("/outside", outside)
    house.route("/inside", inside)
    house.route("/alone", limited(house, "2/minute"))
    with house.client() as client:
        assert codes(client, "/alone", 1) == [401]
        for path in ("/outside", "/inside"):
            assert codes(client, path, 4, headers=CHECKER) == [403] * 4
            assert codes(client, path, 3, headers=ADMIN) == [200, 200, 429]


def test_a_public_below_it_is_refused_at_start(house: House) -> None:
    """It would not count there: the sentence says what to do."""
    house.route("/", house.rate_limit("2/minute")(house.door.public(answer)))
    with pytest.raises(ConfigurationError, match="make @public the outermost decorator"), house.client():
        pass


def test_other_decorators_around_it_lose_nothing(house: House) -> None:
    """What wraps a limited function is counted as well, once, whether it is public or not."""
    from functools import wraps

    inner = limited(house, "2/minute")

    @wraps(inner)
    async def outer(*args: Any, **kwargs: Any) -> Any:
        return await inner(*args, **kwargs)

    house.route("/", house.door.public(outer))
    with house.client() as client:
        assert codes(client, "/", 3) == [200, 200, 429]


async def test_where_nothing_guards_it_refuses(house: House) -> None:
    """An application that is not protected has no limits, so the function does not run."""
    handler = limited(house, "2/minute")
    with pytest.raises(ConfigurationError, match="not protected"):
        await handler(Request({"type": "http", "headers": [], "path": "/", "method": "GET"}))


def test_a_function_that_another_one_calls_is_counted(house: House) -> None:
    """By an asynchronous one before it runs; any other cannot wait, and refuses."""
    inner = limited(house, "2/minute")

    @house.rate_limit("2/minute")
    def thread(request: Request) -> PlainTextResponse:
        return PlainTextResponse("done")

    async def calls(request: Request) -> Any:
        return await inner(request)

    async def calls_thread(request: Request) -> Any:
        return thread(request)

    house.route("/calls", calls)
    house.route("/thread", calls_thread)
    with house.client() as client:
        assert codes(client, "/calls", 3, headers=CHECKER) == [200, 200, 429]
        assert codes(client, "/thread", 1, headers=CHECKER) == [403]


def test_what_is_switched_off_counts_nothing(house: House) -> None:
    """And tells nothing."""
    house.gate.throttle = Throttle(None, secret="counts")
    house.route("/", limited(house, "1/minute"))
    with house.client() as client:
        assert codes(client, "/", 5, headers=CHECKER) == [200] * 5
        assert "ratelimit" not in client.get("/", headers=CHECKER).headers


def test_what_cannot_be_counted_does_not_get_in(house: House) -> None:
    """503 where the store does not answer: before the handler, and with a public route as well."""

    class Silent(MemoryThrottles):
        async def take(self, takes: Any) -> Any:
            raise Unavailable()

    house.gate.throttle = Throttle(Silent(), secret="counts")
    house.route("/", limited(house, "1/minute"))
    house.route("/open", house.door.public(limited(house, "1/hour")))
    with house.client() as client:
        assert codes(client, "/", 1, headers=CHECKER) == [503]
        assert codes(client, "/open", 1) == [503]


def test_one_question_of_the_store_for_each_request(house: House) -> None:
    """However many limits there are."""
    asked: list[int] = []

    class Noting(MemoryThrottles):
        async def take(self, takes: Any) -> Any:
            given: list[Take] = list(takes)
            asked.append(len(given))
            return await super().take(given)

    house.gate.throttle = Throttle(Noting(), secret="counts")
    house.route("/", limited(house, "10/minute", "100/hour", "1000/day"))
    with house.client() as client:
        assert codes(client, "/", 2, headers=CHECKER) == [200, 200]
    assert asked == [3, 3]


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        ((), {}),
        (("often",), {}),
        (("0/minute",), {}),
        ((answer,), {}),
        (("1/minute",), {"key": "user"}),
        (("1/minute",), {"key": lambda: ""}),
        (("1/minute",), {"name": "two words"}),
        (("1/minute",), {"name": ""}),
    ],
)
def test_what_is_no_limit_is_refused_where_it_is_written(rates: Any, told: Any) -> None:
    """At import, with what is wrong with it."""
    for door in (fastapi, starlette):
        with pytest.raises(ConfigurationError, match="rate_limit"):
            door.rate_limit(*rates, **told)


def test_a_websocket_is_counted_when_it_is_opened() -> None:
    """Each handshake is one call: 429 as its denial, and nothing is accepted."""
    house = house_of(starlette)

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    house.app.router.routes.append(WebSocketRoute("/", starlette.rate_limit("1/minute")(socket)))
    with house.client() as client:
        with client.websocket_connect("/", headers=CHECKER) as opened:
            headers: Any = opened.extra_headers
            assert (b"ratelimit", b'"1-per-minute";r=0;t=60') in headers
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/", headers=CHECKER):
            pass
    assert refused.value.status_code == 429
    assert refused.value.headers["retry-after"] == "60"


def test_class_views_count_by_class_and_by_method() -> None:
    """What stands on the class holds for all of its methods, and what stands on one for that one."""
    house = house_of(starlette)

    @starlette.rate_limit("3/minute")
    class View(HTTPEndpoint):
        @starlette.rate_limit("1/minute")
        async def get(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("got")

        async def post(self, request: Request) -> PlainTextResponse:
            return PlainTextResponse("posted")

    house.app.router.routes.append(Route("/", View))
    with house.client() as client:
        assert codes(client, "/", 2, headers=CHECKER) == [200, 429]
        posted = [client.post("/", headers=CHECKER).status_code for _ in range(3)]
    assert posted == [200, 200, 429]


def test_what_is_mounted_is_counted_by_a_rule_for_its_path() -> None:
    """A rule may have a limit where the guard hands over; where it cannot, the application does not start."""
    house = house_of(starlette)

    async def foreign(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("done")(scope, receive, send)

    house.app.router.routes.append(Mount("/files", app=foreign))
    protect(house.app, house.gate).mount_rule("/files", starlette.rate_limit("2/minute"))
    with TestClient(house.app) as client:
        assert codes(client, "/files/a", 1) == [401]
        assert codes(client, "/files/a", 2, headers=CHECKER) == [200, 200]
        assert codes(client, "/files/b", 1, headers=CHECKER) == [429]

    other = house_of(starlette)
    other.app.router.default = foreign
    protect(other.app, other.gate).mount_rule("*", starlette.rate_limit("2/minute"))
    with pytest.raises(ConfigurationError, match="nothing can be counted"), TestClient(other.app):
        pass


def test_dependencies_and_annotations_are_counted_before_the_body() -> None:
    """On a route, on a router, below another dependency, and as an annotation: once a request, overrides or not."""
    house = house_of(fastapi)
    app: FastAPI = house.app
    limit = fastapi.rate_limit("2/minute")

    def below(_: Annotated[Any, fastapi.rate_limit("2/minute", name="below")]) -> str:
        return "below"

    router = APIRouter(dependencies=[fastapi.rate_limit("2/minute")])

    @app.get("/listed", dependencies=[limit])
    async def listed() -> str:
        return "done"

    @app.get("/depends", dependencies=[Depends(fastapi.rate_limit("2/minute"))])
    async def depends() -> str:
        return "done"

    @app.get("/below")
    async def with_below(found: Annotated[str, Depends(below)]) -> str:
        return found

    @router.get("/first")
    async def first() -> str:
        return "done"

    @router.get("/second")
    async def second() -> str:
        return "done"

    @fastapi.public
    @app.get("/open", dependencies=[fastapi.rate_limit("2/minute")])
    async def opened() -> str:
        return "done"

    app.include_router(router, prefix="/routed")
    assert limit.dependency is not None
    app.dependency_overrides[limit.dependency] = lambda: None
    with house.client() as client:
        for path in ("/listed", "/depends", "/below", "/routed/first", "/routed/second"):
            assert codes(client, path, 3, headers=CHECKER) == [200, 200, 429], path
        assert codes(client, "/open", 3) == [200, 200, 429]


def test_the_schema_tells_it() -> None:
    """The operation says how often, and that there may be a 429."""
    house = house_of(fastapi)
    house.app.get("/")(fastapi.public(fastapi.rate_limit("2/minute", "50/hour")(answer)))
    with house.client():
        operation = house.app.openapi()["paths"]["/"]["get"]
    assert operation["x-limen"] == {"public": True, "rate_limits": ["2/minute", "50/hour"]}
    assert set(operation["responses"]["429"]["headers"]) == {"Retry-After", "RateLimit", "RateLimit-Policy"}
