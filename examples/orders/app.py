"""The FastAPI application: routes that state what they ask for, and nothing about how it is proved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from limen import Limen, NotFound
from limen.fastapi import CurrentPrincipal, answer_invalid_input, interactive, live, permissions, policy, rate_limit

from .approvals import declare  # noqa: TID252 - works under any name
from .database import Database  # noqa: TID252
from .errors import NoSuchChecker  # noqa: TID252
from .models import Order  # noqa: TID252
from .policies import OPEN  # noqa: TID252
from .roles import MAY_BE_ASSIGNED, Permission  # noqa: TID252
from .schemas import ApprovalOut, Assignment, NewOrder, OrderChange, OrderList, OrderOut, cents  # noqa: TID252
from .seen import etag, has_seen  # noqa: TID252
from .service import OrderService  # noqa: TID252
from .together import takes_two  # noqa: TID252

UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

router = APIRouter(prefix="/orders", tags=["orders"])


def create_app(gate: Limen, store: Database, *, title: str = "Orders") -> FastAPI:
    """Make the application.

    Args:
        gate: says who is calling and what they may do, by the policies of this package; its routes are added under
            ``/auth``, ``/admin/api`` and ``/approvals``.
        store: where the orders are; closed at the end.
        title: what the description of its interface calls it.
    """
    declare(gate, store)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await store.close()

    # Whether the interface is described, and to whom, is for whoever runs the application to say.
    app = FastAPI(title=title, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.gate, app.state.database = gate, store
    app.include_router(router)
    app.add_exception_handler(RequestValidationError, answer_invalid_input)
    gate.protect(app, strict=True, health=True, administration=True, approvals=True)
    return app


async def order_service(request: Request) -> AsyncIterator[OrderService]:
    """Give a request the use cases, in a session of its own."""
    store: Database = request.app.state.database
    async with store.session() as session:
        yield OrderService(session, request.app.state.gate)


async def visible_orders(request: Request, me: CurrentPrincipal) -> AsyncIterator[OrderService]:
    """Give a request the use cases, in a session that shows nothing but what the caller may see in a list.

    No statement in it can forget to filter: the policy stands beside each of them.
    """
    gate: Limen = request.app.state.gate
    store: Database = request.app.state.database
    async with store.session() as session:
        gate.bind(session, me)
        yield OrderService(session, gate)


Orders = Annotated[OrderService, Depends(order_service)]
VisibleOrders = Annotated[OrderService, Depends(visible_orders)]


async def load(order_id: str, orders: Orders) -> Order | None:
    """Find the order that a request is about, whosever it is: the policy is asked before the route has it."""
    return await orders.find(order_id)


# Another's order looks like one that is not there; whoever checks orders is told why they may not approve one.
Opened = Annotated[Order, policy(OPEN, load=load, hide=True)]
Changed = Annotated[Order, policy(Permission.UPDATE, load=load, hide=True)]
Removed = Annotated[Order, policy(Permission.DELETE, load=load, hide=True)]
Approved = Annotated[Order, policy(Permission.APPROVE, load=load)]

IfMatch = Annotated[list[str] | None, Header(description="The ETag of the order as it was seen.")]


def shown(order: Order, response: Response) -> OrderOut:
    """Show one order, with the tag by which an approval names what was seen."""
    response.headers["ETag"] = etag(order)
    return OrderOut.of(order)


@router.post("", status_code=201)
@permissions(Permission.CREATE)
@rate_limit("600/minute")
async def create(body: NewOrder, me: CurrentPrincipal, orders: Orders, response: Response) -> OrderOut:
    return shown(await orders.create(me, item=body.item, amount_cents=cents(body.amount)), response)


@router.get("")
@permissions(Permission.READ)
async def list_orders(
    orders: VisibleOrders,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(pattern=UUID)] = None,
) -> OrderList:
    page = await orders.page(limit=limit, after=after)
    return OrderList(items=[OrderOut.of(order) for order in page.items], next=page.next)


@router.get("/{order_id}")
@permissions(Permission.READ)
async def read(order: Opened, response: Response) -> OrderOut:
    return shown(order, response)


@router.patch("/{order_id}")
@permissions(Permission.UPDATE)
async def change(
    order: Changed, body: OrderChange, me: CurrentPrincipal, orders: Orders, response: Response
) -> OrderOut:
    return shown(await orders.change(me, order, body.columns()), response)


@router.delete("/{order_id}", status_code=204)
@permissions(Permission.DELETE)
async def remove(order: Removed, me: CurrentPrincipal, orders: Orders) -> Response:
    await orders.remove(me, order)
    return Response(status_code=204)


@router.put("/{order_id}/checker")
@permissions(Permission.ASSIGN)
async def assign(order_id: str, body: Assignment, request: Request, orders: Orders, response: Response) -> OrderOut:
    gate: Limen = request.app.state.gate
    try:
        checker = await gate.accounts.by_username(body.username)
    except NotFound:
        raise NoSuchChecker() from None
    if checker.status != "active" or not checker.roles & MAY_BE_ASSIGNED:
        raise NoSuchChecker()
    return shown(await orders.assign(order_id, checker.id), response)


@router.post("/{order_id}/approve", response_model=OrderOut, responses={202: {"model": ApprovalOut}})
@permissions(Permission.APPROVE)
@interactive
@live
async def approve(
    order: Approved, me: CurrentPrincipal, orders: Orders, response: Response, if_match: IfMatch = None
) -> OrderOut | JSONResponse:
    """Approve an order: 200. One above the amount for which one is enough takes two: 202, with how many are missing.

    With If-Match it is approved as it was seen, or not at all; one that takes two is approved in no other way.
    """
    seen = has_seen(order, if_match)
    if not takes_two(order):
        return shown(await orders.approve(me, order, as_seen=seen), response)
    asked = ApprovalOut.of(await orders.approve_with_another(me, order, as_seen=seen))
    return JSONResponse(asked.model_dump(mode="json"), 202, headers={"Location": f"/approvals/{asked.id}"})
