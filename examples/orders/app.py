"""The FastAPI application: routes that state what they ask for, and nothing about how it is proved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from limen import Limen, NotFound
from limen.fastapi import CurrentPrincipal, answer_invalid_input, live, permissions

from .database import Database  # noqa: TID252 - works under any name
from .errors import NoSuchChecker  # noqa: TID252
from .roles import MAY_BE_ASSIGNED, Permission  # noqa: TID252
from .schemas import Assignment, NewOrder, OrderChange, OrderList, OrderOut, cents  # noqa: TID252
from .service import OrderService  # noqa: TID252

UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

router = APIRouter(prefix="/orders", tags=["orders"])


def create_app(gate: Limen, database: Path, *, title: str = "Orders") -> FastAPI:
    """Make the application.

    Args:
        gate: says who is calling and what they may do; its routes are added under ``/auth`` and ``/admin/api``.
        database: the SQLite file of the orders; made where there is none.
        title: what the description of its interface calls it.
    """
    store = Database(database)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await store.close()

    # Whether the interface is described, and to whom, is for whoever runs the application to say.
    app = FastAPI(title=title, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.gate, app.state.database = gate, store
    app.include_router(router)
    app.add_exception_handler(RequestValidationError, answer_invalid_input)
    gate.protect(app, strict=True, health=True, administration=True)
    return app


async def order_service(request: Request) -> AsyncIterator[OrderService]:
    """Give a request the use cases, in a session of its own."""
    store: Database = request.app.state.database
    async with store.session() as session:
        yield OrderService(session)


Orders = Annotated[OrderService, Depends(order_service)]


@router.post("", status_code=201)
@permissions(Permission.CREATE)
async def create(body: NewOrder, me: CurrentPrincipal, orders: Orders) -> OrderOut:
    return OrderOut.of(await orders.create(me, item=body.item, amount_cents=cents(body.amount)))


@router.get("")
@permissions(Permission.READ)
async def list_orders(
    me: CurrentPrincipal,
    orders: Orders,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(pattern=UUID)] = None,
) -> OrderList:
    page = await orders.page(me, limit=limit, after=after)
    return OrderList(items=[OrderOut.of(order) for order in page.items], next=page.next)


@router.get("/{order_id}")
@permissions(Permission.READ)
async def read(order_id: str, me: CurrentPrincipal, orders: Orders) -> OrderOut:
    return OrderOut.of(await orders.get(me, order_id))


@router.patch("/{order_id}")
@permissions(Permission.UPDATE)
async def change(order_id: str, body: OrderChange, me: CurrentPrincipal, orders: Orders) -> OrderOut:
    return OrderOut.of(await orders.change(me, order_id, body.columns()))


@router.delete("/{order_id}", status_code=204)
@permissions(Permission.DELETE)
async def remove(order_id: str, me: CurrentPrincipal, orders: Orders) -> Response:
    await orders.remove(me, order_id)
    return Response(status_code=204)


@router.put("/{order_id}/checker")
@permissions(Permission.ASSIGN)
async def assign(order_id: str, body: Assignment, request: Request, orders: Orders) -> OrderOut:
    gate: Limen = request.app.state.gate
    try:
        checker = await gate.accounts.by_username(body.username)
    except NotFound:
        raise NoSuchChecker() from None
    if checker.status != "active" or not checker.roles & MAY_BE_ASSIGNED:
        raise NoSuchChecker()
    return OrderOut.of(await orders.assign(order_id, checker.id))


@router.post("/{order_id}/approve")
@permissions(Permission.APPROVE)
@live
async def approve(order_id: str, me: CurrentPrincipal, orders: Orders) -> OrderOut:
    return OrderOut.of(await orders.approve(me, order_id))
