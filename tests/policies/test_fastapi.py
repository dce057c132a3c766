"""Policies on the routes of a FastAPI application: decided at dispatch, or when the resource is there."""

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import anyio
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from limen import context, deny
from limen.core import metrics
from limen.core.errors import ConfigurationError, Unavailable
from limen.core.principal import Principal
from limen.fastapi import CurrentPrincipal, enforce_policy, live, permissions, policy, public, roles
from limen.web.guard import protect
from tests.policies.guarding import NOT_BY_NIGHT, ORDERS, RULES, SUSPENDED, Order, U, gate_with, loaded
from tests.web.guard.kit import Reply, SmallGate, call


class Shop:
    """Routes that note what their handlers were given."""

    def __init__(self, gate: SmallGate | None = None) -> None:
        self.gate = gate or gate_with()
        self.app = FastAPI()
        self.ran: list[Any] = []
        self.loads: list[int] = []

    def protected(self) -> "Shop":
        protect(self.app, self.gate)
        return self

    async def get_order(self, order_id: int) -> Order | None:
        self.loads.append(order_id)
        return ORDERS.get(order_id)

    async def ask(self, path: str, who: str | None = "checker", method: str = "POST") -> Reply:
        return await call(self.app, path, who, method=method)


def _annotated(shop: Shop, **options: Any) -> None:
    async def approve(order: Annotated[Order, policy("order:approve", load=shop.get_order, **options)]) -> str:
        shop.ran.append(order)
        return "approved"

    shop.app.post("/orders/{order_id}")(approve)


def _as_dependency(shop: Shop, **options: Any) -> None:
    async def approve(order_id: int) -> str:
        shop.ran.append(ORDERS[order_id])
        return "approved"

    shop.app.post("/orders/{order_id}", dependencies=[policy("order:approve", load=shop.get_order, **options)])(approve)


def _included(shop: Shop, **options: Any) -> None:
    async def approve(order: Annotated[Order, policy("order:approve", load=shop.get_order, **options)]) -> str:
        shop.ran.append(order)
        return "approved"

    inner, outer = APIRouter(), APIRouter()
    inner.post("/{order_id}")(approve)
    outer.include_router(inner, prefix="/orders")
    shop.app.include_router(outer)


def _on_the_router(shop: Shop, **options: Any) -> None:
    async def approve(order_id: int) -> str:
        shop.ran.append(ORDERS[order_id])
        return "approved"

    router = APIRouter()
    router.post("/{order_id}")(approve)
    shop.app.include_router(
        router, prefix="/orders", dependencies=[policy("order:approve", load=shop.get_order, **options)]
    )


def _below_another(shop: Shop, **options: Any) -> None:
    asked = policy("order:approve", load=shop.get_order, **options)

    async def approvable(order: Annotated[Order, asked]) -> Order:
        return order

    async def approve(order: Annotated[Order, Depends(approvable)]) -> str:
        shop.ran.append(order)
        return "approved"

    shop.app.post("/orders/{order_id}")(approve)


WAYS = [_annotated, _as_dependency, _included, _on_the_router, _below_another]
ways = pytest.mark.parametrize("way", WAYS, ids=[each.__name__.strip("_") for each in WAYS])


@ways
async def test_what_is_allowed_reaches_the_handler_with_its_resource(way: Any) -> None:
    """Whoever may approve the order gets in, and the handler has the very object that was decided."""
    shop = Shop()
    way(shop)
    shop.protected()
    reply = await shop.ask("/orders/1")
    assert (reply.status, shop.ran, shop.loads) == (200, [ORDERS[1]], [1])
    assert shop.ran[0] is ORDERS[1]


@ways
@pytest.mark.parametrize(
    ("order", "detail"), [(2, "own_order"), (3, None), (4, None)], ids=["own", "over_limit", "nobody's"]
)
async def test_what_is_not_allowed_is_403_before_the_handler(way: Any, order: int, detail: str | None) -> None:
    """A denied order, one above the limit, and one whose checker is missing are refused before the handler."""
    shop = Shop()
    way(shop)
    shop.protected()
    reply = await shop.ask(f"/orders/{order}")
    assert (reply.status, reply.code, shop.ran) == (403, "policy_denied", [])
    assert reply.json().get("detail") == detail


async def test_the_detail_says_which_deny_it_was() -> None:
    """Of an order that would be allowed but for a deny, the caller learns the reason of the deny."""
    shop = Shop(gate_with([*RULES, deny("order:approve", U.id == "id-of-checker", id="on_leave")]))
    _annotated(shop)
    shop.protected()
    assert (await shop.ask("/orders/1")).json()["detail"] == "on_leave"


@ways
async def test_what_is_not_there_is_404(way: Any) -> None:
    """Where the loader finds nothing, the answer is 404, and the handler does not run."""
    shop = Shop()
    way(shop)
    shop.protected()
    reply = await shop.ask("/orders/99")
    assert (reply.status, reply.code, shop.ran) == (404, "not_found", [])


@ways
@pytest.mark.parametrize("raises", [False, True], ids=["none", "http_exception"])
async def test_absent_and_forbidden_look_the_same_where_asked(way: Any, raises: bool) -> None:
    """With hide=True nothing in the two answers but the trace id differs, also where the loader raises its own 404."""
    shop = Shop()
    if raises:

        async def get_order(order_id: int) -> Order:
            if order_id not in ORDERS:
                raise HTTPException(404, "No such order.", headers={"x-who": "loader"})
            return ORDERS[order_id]

        shop.get_order = get_order  # type: ignore[method-assign]
    way(shop, hide=True)
    shop.protected()
    absent, forbidden = await shop.ask("/orders/99"), await shop.ask("/orders/2")
    bodies = [{**each.json(), "trace_id": ""} for each in (absent, forbidden)]
    assert (absent.status, bodies[0], absent.headers) == (forbidden.status, bodies[1], forbidden.headers)
    assert (absent.status, absent.code, shop.ran) == (404, "not_found", [])


async def test_nobody_in_particular_is_401_and_nothing_is_loaded() -> None:
    """Without a credential nothing is loaded and nothing is decided."""
    shop = Shop()
    _annotated(shop)
    shop.protected()
    reply = await shop.ask("/orders/1", None)
    assert (reply.status, shop.loads, shop.gate.loader_asked) == (401, [], [])


# --- dependency_overrides


@ways
async def test_an_override_of_the_policy_lets_nobody_in(way: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Replacing the dependency that decides, or one above it, closes the route in place of opening it."""
    shop = Shop()
    way(shop)
    shop.protected()
    await shop.ask("/orders/1")
    assert len(shop.ran) == 1
    for each in _policy_calls(shop.app):
        shop.app.dependency_overrides[each] = lambda: ORDERS[2]
    with caplog.at_level(logging.ERROR, logger="limen"):
        reply = await shop.ask("/orders/2")
    assert (reply.status, len(shop.ran)) == (403, 1)
    assert "dependency_overrides" in caplog.text


def _policy_calls(app: FastAPI) -> list[Any]:
    """Return the calls of the first dependencies of every route that lead to the policy."""
    return [calls_of for leaf in _leaves(app) for _, calls in leaf.stated.solved for calls_of in calls]


def _leaves(app: FastAPI) -> list[Any]:
    return [each.leaf for each in vars(app)["limen_protection"].leaves()]


@ways
async def test_an_override_of_the_loader_is_decided_like_the_loader(way: Any) -> None:
    """A test that replaces the loader gets its own order decided."""
    shop = Shop()
    way(shop)
    shop.protected()
    shop.app.dependency_overrides[shop.get_order] = lambda: ORDERS[2]
    assert (await shop.ask("/orders/1")).status == 403
    shop.app.dependency_overrides[shop.get_order] = lambda: ORDERS[1]
    assert (await shop.ask("/orders/2")).status == 200


async def test_a_route_whose_policy_fastapi_would_not_call_does_not_start() -> None:
    """Of two policies in one Annotated FastAPI calls the last only, so the application refuses to start."""
    shop = Shop()
    get_order = shop.get_order
    twice = Annotated[Order, policy("order:approve", load=get_order), policy("order:read", load=get_order)]

    async def approve(order: twice) -> str:
        shop.ran.append(order)
        return ""

    shop.app.post("/orders/{order_id}")(approve)
    shop.protected()
    with pytest.raises(ConfigurationError, match="order:approve about what load= brings"):
        await vars(shop.app)["limen_protection"].ensure_started()


async def test_a_route_added_later_whose_policy_nobody_decides_lets_nobody_in() -> None:
    """What the start could not see is refused at dispatch."""
    shop = Shop().protected()
    await shop.ask("/nothing")
    get_order = shop.get_order

    async def approve(
        order: Annotated[Order, policy("order:approve", load=get_order), policy("order:read", load=get_order)],
    ) -> str:
        shop.ran.append(order)
        return ""

    shop.app.post("/orders/{order_id}")(approve)
    assert ((await shop.ask("/orders/2")).status, shop.ran) == (403, [])


@pytest.mark.parametrize("status", [200, 303], ids=str)
async def test_an_answer_without_the_decision_is_kept_back(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """A route class that solves no dependencies may run its handler, but nothing of the answer leaves."""

    class Lazy(APIRoute):
        def get_route_handler(self) -> Any:
            async def handle(request: Request) -> Response:
                return Response("the order", status)

            return handle

    shop = Shop()
    shop.app.router.route_class = Lazy
    _annotated(shop)
    shop.protected()
    with caplog.at_level(logging.ERROR, logger="limen"):
        reply = await shop.ask("/orders/2")
    assert (reply.status, b"the order" in reply.body) == (500, False)
    assert "the policies were not asked about its resource" in caplog.text


def test_a_policy_with_a_loader_is_no_decorator() -> None:
    """FastAPI calls loaders, and a decorator is none of its dependencies: the message says how to write it."""
    with pytest.raises(ConfigurationError, match="Annotated"):

        @policy("order:approve", load=lambda: None)
        async def approve() -> None: ...


def test_depends_around_a_policy_with_a_loader_is_refused() -> None:
    """``Depends(policy(…, load=…))`` would hand FastAPI something that decides nothing."""
    app = FastAPI()

    async def approve(order: Annotated[Order, Depends(policy("order:approve", load=lambda: ORDERS[2]))]) -> None: ...

    app.post("/orders")(approve)
    protect(app, gate_with())
    with pytest.raises(ConfigurationError, match="never calls that"):
        anyio.run(vars(app)["limen_protection"].ensure_started)


@pytest.mark.parametrize("rules", [RULES, None], ids=["unknown_action", "no_policies"])
async def test_an_action_that_nobody_knows_does_not_start(rules: Any) -> None:
    """A policy that could never say yes is found at the start, with what may have been meant."""
    shop = Shop(gate_with() if rules else SmallGate())

    @shop.app.post("/orders")
    @policy("order:crate" if rules else "order:create")
    async def create() -> None: ...

    shop.protected()
    match = "Did you mean order:create" if rules else "policies="
    with pytest.raises(ConfigurationError, match=match):
        await vars(shop.app)["limen_protection"].ensure_started()


async def test_without_policies_a_route_added_later_is_closed() -> None:
    """A gate without policies answers no to every policy."""
    shop = Shop(SmallGate()).protected()
    await shop.ask("/nothing")

    @shop.app.post("/orders")
    @policy("order:create")
    async def create() -> None:
        shop.ran.append("create")

    _annotated(shop)
    assert [(await shop.ask(path, "maker")).status for path in ("/orders", "/orders/1")] == [403, 403]
    assert shop.ran == []


# --- without a resource


def _create(shop: Shop, *requirements: Any) -> None:
    async def create(order: dict[str, Any]) -> str:
        shop.ran.append(order)
        return "created"

    decorated: Any = create
    for each in requirements:
        decorated = each(decorated)
    shop.app.post("/orders")(decorated)
    shop.protected()


@pytest.mark.parametrize("asked", [policy("order:create"), permissions("order:create"), roles("maker")], ids=str)
async def test_it_is_decided_before_the_body_is_read(asked: Any) -> None:
    """A decorator without loader is decided at dispatch: a malformed body is not looked at before the refusal."""
    shop = Shop()
    _create(shop, asked)
    refused = await call(shop.app, "/orders", "checker", method="POST", body=b"{")
    let_in = await call(shop.app, "/orders", "maker", method="POST", body=b"{}")
    assert (refused.status, let_in.status, shop.ran) == (403, 200, [{}])


@pytest.mark.parametrize("asked", [policy("order:create"), permissions("order:create"), roles("maker")], ids=str)
async def test_a_deny_by_who_asks_counts_on_every_kind_of_requirement(asked: Any) -> None:
    """A suspended maker, whose attribute the loader tells, is not let in by a role, a permission or a policy."""
    shop = Shop(gate_with([*RULES, SUSPENDED], maker={"suspended": True}))
    _create(shop, asked)
    reply = await call(shop.app, "/orders", "maker", method="POST", body=b"{}")
    if asked.requirement.roles_any:
        # The role gives order:create alone, which is denied.
        assert reply.code == "policy_denied"
    assert (reply.status, reply.json()["detail"], shop.ran) == (403, "suspended", [])
    assert shop.gate.loader_asked == ["id-of-maker"]


async def test_a_role_of_which_one_permission_is_left_still_counts() -> None:
    """A role lets in as long as it gives something that is not denied."""
    shop = Shop(gate_with([*RULES, SUSPENDED], checker={"suspended": True}))
    _create(shop, roles("checker"))
    assert (await call(shop.app, "/orders", "checker", method="POST", body=b"{}")).status == 200


async def test_one_of_several_permissions_counts_only_where_it_is_not_denied() -> None:
    """``permissions.any`` takes another one that is held where one of them is denied, and refuses where all are."""
    some = deny("order:approve", id="not_today")
    all_of_them = deny(["order:approve", "order:read"], id="not_today")
    for rule, status in ((some, 200), (all_of_them, 403)):
        shop = Shop(gate_with([*RULES, rule]))
        _create(shop, permissions.any("order:approve", "order:read"))
        assert (await call(shop.app, "/orders", "checker", method="POST", body=b"{}")).status == status


async def test_a_missing_attribute_denies() -> None:
    """A deny whose attribute the loader does not tell is unknown, and so denies."""
    shop = Shop(gate_with([*RULES, SUSPENDED], maker={}))
    _create(shop, permissions("order:create"))
    assert (await call(shop.app, "/orders", "maker", method="POST", body=b"{}")).status == 403


# --- swapping


async def test_other_policies_count_from_the_next_request_on() -> None:
    """What a leaf remembers of those it let in is worth nothing once the policies are others."""
    shop = Shop(gate_with([]))
    _create(shop, permissions("order:create"))
    statuses = []
    for rules in ([], [], [deny("order:create", id="closed")], []):
        shop.gate.loaded_policies = loaded(rules)
        statuses += [(await call(shop.app, "/orders", "maker", method="POST", body=b"{}")).status for _ in range(2)]
    assert statuses == [200, 200, 200, 200, 403, 403, 200, 200]


async def test_a_deny_by_the_request_is_asked_at_every_request() -> None:
    """A deny that reads what the application tells of the request is not remembered from one to the next."""
    shop = Shop(gate_with([*RULES, NOT_BY_NIGHT]))
    times = iter(["day", "night", "day", "night"])
    shop.gate.policy_context = lambda connection: {"entrance": next(times)}
    _create(shop, permissions("order:create"))
    statuses = [(await call(shop.app, "/orders", "maker", method="POST", body=b"{}")).status for _ in range(4)]
    assert statuses == [200, 403, 200, 403]


async def test_the_time_is_asked_at_every_request() -> None:
    """A deny by the clock holds from its moment on, for somebody who was let in before."""
    moment = [0.0]
    closing = datetime.fromtimestamp(100, UTC)
    rules = [*RULES, deny("order:create", context().now >= closing, id="closed")]
    shop = Shop(gate_with([]))
    shop.gate.loaded_policies = loaded(rules, clock=lambda: moment[0])
    _create(shop, permissions("order:create"))
    statuses = []
    for each in (99.0, 100.0):
        moment[0] = each
        statuses.append((await call(shop.app, "/orders", "maker", method="POST", body=b"{}")).status)
    assert statuses == [200, 403]


@pytest.mark.parametrize("broken", ["raises", "no_mapping", "absent"])
async def test_a_context_that_cannot_be_told_denies(broken: str) -> None:
    """Where the application fails to tell what a deny reads, or tells nothing, the deny holds."""

    def fails(connection: Any) -> Any:
        if broken == "raises":
            raise RuntimeError("no")
        return ["entrance"]

    shop = Shop(gate_with([*RULES, NOT_BY_NIGHT]))
    shop.gate.policy_context = None if broken == "absent" else fails
    _create(shop, permissions("order:create"))
    assert (await call(shop.app, "/orders", "maker", method="POST", body=b"{}")).status == 403


async def test_a_permission_that_nobody_knew_is_denied_by_the_wildcard_that_means_it() -> None:
    """A deny of ``order:*`` covers an action that came after it was loaded."""
    shop = Shop(gate_with([*RULES, deny("order:*", id="closed")]))
    maker = shop.gate.people["maker"]
    shop.gate.people["maker"] = Principal(
        maker.sub, maker.kind, maker.roles, maker.permissions | {"order:archive"}, maker.sid
    )
    shop.gate.catalogue = None
    _create(shop, permissions("order:archive"))
    reply = await call(shop.app, "/orders", "maker", method="POST", body=b"{}")
    assert (reply.status, reply.json()["detail"]) == (403, "closed")


# --- attributes


async def test_attributes_are_loaded_once_and_are_there_for_the_handler() -> None:
    """The principal that the handler gets carries what the policy read, and the loader was called once."""
    shop = Shop()
    get_order = shop.get_order

    @shop.app.post("/orders/{order_id}")
    @permissions("order:approve")
    async def approve(order: Annotated[Order, policy("order:approve", load=get_order)], me: CurrentPrincipal) -> object:
        assert me.attributes is not None
        return me.attributes["limit"]

    shop.protected()
    assert (await shop.ask("/orders/1")).json() == 100
    assert shop.gate.loader_asked == ["id-of-checker"]


async def test_a_route_that_needs_no_attributes_calls_no_loader() -> None:
    """Routes that hand out no principal, and whose rules read no attribute, do not pay for those of others."""
    shop = Shop()

    @shop.app.get("/plain")
    @roles("checker")
    async def plain() -> str:
        return ""

    @shop.app.get("/read")
    @policy("order:read")
    async def read() -> str:
        return ""

    @shop.app.get("/mine")
    async def mine(me: CurrentPrincipal) -> object:
        return dict(me.attributes or {})

    shop.protected()
    for path in ("/plain", "/read", "/plain"):
        assert (await shop.ask(path, method="GET")).status == 200
    assert shop.gate.loader_asked == []
    assert (await shop.ask("/mine", method="GET")).json() == {"limit": 100, "suspended": False}
    assert shop.gate.loader_asked == ["id-of-checker"]


async def test_what_cannot_be_loaded_is_503_and_nothing_runs() -> None:
    """A loader that fails refuses: a policy is never asked with attributes that are not known."""

    class Broken(SmallGate):
        async def attributes_of(self, who: Principal) -> Any:
            raise Unavailable()

    gate = Broken(loaded_policies=loaded(RULES))
    shop = Shop(gate)
    _annotated(shop)

    @shop.app.get("/mine")
    async def mine(me: CurrentPrincipal) -> None:
        shop.ran.append(me)

    shop.protected()
    statuses = [(await shop.ask("/orders/1")).status, (await shop.ask("/mine", method="GET")).status]
    assert (statuses, shop.ran, shop.loads) == ([503, 503], [], [])


async def test_live_decides_about_the_principal_of_now() -> None:
    """Beside @live the policy is asked about the roles that are held now."""
    shop = Shop()

    @shop.app.post("/orders")
    @live
    @policy("order:create")
    async def create() -> str:
        shop.ran.append("created")
        return ""

    shop.protected()
    assert (await shop.ask("/orders", "maker")).status == 200
    shop.gate.live_roles["id-of-maker"] = frozenset()
    assert ((await shop.ask("/orders", "maker")).status, shop.ran) == (403, ["created"])


# --- beside the routes


async def test_a_function_that_is_called_by_another_route_asks_its_own_policy() -> None:
    """Calling a decorated function from a handler decides, and what needs a resource cannot be called so."""
    shop = Shop()

    @policy("order:create")
    async def create(request: Request) -> str:
        shop.ran.append("created")
        return "created"

    @shop.app.post("/other")
    async def other(request: Request) -> str:
        return await create(request)

    shop.protected()
    assert (await shop.ask("/other", "maker")).status == 200
    assert ((await shop.ask("/other", "checker")).status, shop.ran) == (403, ["created"])


async def test_a_plain_function_that_is_called_by_another_route_refuses() -> None:
    """What is not asynchronous cannot ask by itself: it runs only where its route was asked the same."""
    shop = Shop()

    @policy("order:create")
    def create(request: Request) -> str:
        shop.ran.append("created")
        return "created"

    @shop.app.post("/other")
    async def other(request: Request) -> str:
        return create(request)

    @shop.app.post("/same")
    @policy("order:create")
    async def same(request: Request) -> str:
        return create(request)

    shop.protected()
    assert [(await shop.ask(path, "maker")).status for path in ("/other", "/same")] == [403, 200]
    assert shop.ran == ["created"]


async def test_what_a_live_check_changes_is_loaded_anew() -> None:
    """Attributes that were loaded for the roles of before are not those of the principal of now."""

    class Renewing(SmallGate):
        async def live(self, principal: Principal) -> Principal:
            return replace(principal, roles=self.live_roles.get(principal.sub, principal.roles))

        async def attributes_of(self, who: Principal) -> Any:
            self.loader_asked.append(" ".join(sorted(who.roles)))
            return {"limit": 0, "suspended": "clerk" in who.roles}

    shop = Shop(Renewing(loaded_policies=loaded([*RULES, SUSPENDED])))

    @policy("order:create")
    @live
    async def create(request: Request) -> None:
        shop.ran.append("created")

    @shop.app.post("/other")
    async def other(request: Request, me: CurrentPrincipal) -> None:
        await create(request)

    shop.protected()
    assert (await shop.ask("/other", "maker")).status == 200
    shop.gate.live_roles["id-of-maker"] = frozenset({"maker", "clerk"})
    assert (await shop.ask("/other", "maker")).json()["detail"] == "suspended"
    assert (shop.ran, shop.gate.loader_asked) == (["created"], ["maker", "maker", "clerk maker"])


async def test_enforce_policy_decides_what_the_handler_has_loaded() -> None:
    """A handler that loads by itself asks, and gets its resource back, or raises."""
    shop = Shop()

    @shop.app.post("/orders/{order_id}")
    async def approve(order_id: int, request: Request) -> int:
        order = await enforce_policy(request, "order:approve", ORDERS.get(order_id))
        assert order is not None
        shop.ran.append(order)
        return order.amount

    shop.protected()
    statuses = [(await shop.ask(f"/orders/{each}")).status for each in (1, 2, 99)]
    assert (statuses, shop.ran) == ([200, 403, 404], [ORDERS[1]])


async def test_a_websocket_is_decided_before_it_is_opened() -> None:
    """A policy with a loader on a WebSocket refuses the handshake."""
    shop = Shop()
    get_order = shop.get_order

    @shop.app.websocket("/orders/{order_id}/live")
    async def follow(websocket: WebSocket, order: Annotated[Order, policy("order:approve", load=get_order)]) -> None:
        shop.ran.append(order)
        await websocket.accept()
        await websocket.close()

    shop.protected()
    opened = [(await shop.ask(f"/orders/{each}/live", method="SOCKET")).status for each in (1, 2, 99)]
    assert (opened, shop.ran) == ([101, 403, 404], [ORDERS[1]])


def test_public_beside_a_policy_is_a_contradiction() -> None:
    """A public route asks nobody, so a policy on it is refused at the start."""
    app = FastAPI()

    @app.get("/orders")
    @public
    @policy("order:read")
    async def read() -> None: ...

    protect(app, gate_with())
    with pytest.raises(ConfigurationError, match="restricted"):
        anyio.run(vars(app)["limen_protection"].ensure_started)


async def test_decisions_are_logged_without_values_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The log has action, rule and version of each decision, and the counters its outcome."""
    shop = Shop()
    _annotated(shop)
    shop.protected()
    before = dict(metrics.POLICY_DECISIONS.read().samples)
    with caplog.at_level(logging.DEBUG, logger="limen"):
        await shop.ask("/orders/1")
        await shop.ask("/orders/2")
    told = [each for each in caplog.records if each.message == "policy decision"]
    assert shop.gate.loaded_policies is not None
    version = shop.gate.loaded_policies.policies.version
    assert [(each.action, each.allowed, each.version) for each in told] == [  # type: ignore[attr-defined]
        ("order:approve", True, version),
        ("order:approve", False, version),
    ]
    assert told[0].rule == "four-eyes"  # type: ignore[attr-defined]
    assert "id-of-checker" not in str([vars(each) for each in told])
    after = dict(metrics.POLICY_DECISIONS.read().samples)
    assert {name: after[name] - before[name] for name in after} == {("allowed",): 1, ("denied",): 1}  # type: ignore[operator]
