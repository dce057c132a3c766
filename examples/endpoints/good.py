"""The same kind of application as `bad.py`, as it should be: `limen check` finds nothing.

    limen check good:app

It guards itself with FastAPI alone, to show that the check is not about limen: with limen the middleware, the limits
and the questions about objects are a line each.
"""

import hmac
import os
import secrets
from collections.abc import Callable
from typing import Annotated, Any

import argon2
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import OAuth2PasswordBearer
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from pydantic import BaseModel, ConfigDict

SECRET_KEY = os.environ["ORDERS_SECRET_KEY"]

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
oauth2 = OAuth2PasswordBearer(tokenUrl="login")
hasher = argon2.PasswordHasher()
wanted = jwt.JWTClaimsRegistry(exp={"essential": True}, aud={"essential": True, "value": "orders"})
database: Any = None


class SecurityHeaders:
    """Sets what browsers are to be told on every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
            await send(message)

        await self.app(scope, receive, with_headers)


app.add_middleware(SecurityHeaders)


class Account(BaseModel):
    id: int
    name: str
    role: str


class OrderIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    item: str
    amount: int


class OrderOut(BaseModel):
    id: int
    item: str
    amount: int


class Credentials(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    password: str


class Token(BaseModel):
    access_token: str


async def current(token: Annotated[str, Depends(oauth2)]) -> Account:
    try:
        claims = jwt.decode(token, OctKey.import_key(SECRET_KEY), algorithms=["HS256"]).claims
        wanted.validate(claims)
    except JoseError:
        raise HTTPException(status_code=401) from None
    # The database is asked each time, so that who was dismissed is out at once.
    row = await database.fetch_one("SELECT id, name, role FROM accounts WHERE id = :id", {"id": claims["sub"]})
    if row is None:
        raise HTTPException(status_code=401)
    return Account.model_validate(row)


Me = Annotated[Account, Depends(current)]


def role(name: str) -> Callable[[Me], None]:
    def check(me: Me) -> None:
        if not hmac.compare_digest(me.role, name):
            raise HTTPException(status_code=403)

    return check


async def order_of_mine(order_id: int, me: Me) -> OrderOut:
    row = await database.fetch_one(
        "SELECT id, item, amount FROM orders WHERE id = :id AND maker = :maker", {"id": order_id, "maker": me.id}
    )
    if row is None:
        raise HTTPException(status_code=404)
    return OrderOut.model_validate(row)


class RateLimiter:
    """Ten tries a minute; a real one counts in a store."""

    def __init__(self, times: int) -> None:
        self.times = times

    async def __call__(self, request: Request) -> None: ...


@app.post("/login", dependencies=[Depends(RateLimiter(times=10))])
async def login(credentials: Credentials) -> Token:
    row = await database.fetch_one("SELECT hash FROM accounts WHERE name = :name", {"name": credentials.name})
    hasher.verify(row["hash"], credentials.password)
    return Token(access_token=secrets.token_urlsafe(32))


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/orders")
async def orders(me: Me) -> list[OrderOut]:
    rows = await database.fetch_all("SELECT id, item, amount FROM orders WHERE maker = :maker", {"maker": me.id})
    return [OrderOut.model_validate(row) for row in rows]


@app.post("/orders", status_code=201)
async def create(order: OrderIn, me: Me) -> OrderOut:
    row = await database.fetch_one(
        "INSERT INTO orders (item, amount, maker) VALUES (:item, :amount, :maker) RETURNING id, item, amount",
        {"item": order.item, "amount": order.amount, "maker": me.id},
    )
    return OrderOut.model_validate(row)


@app.get("/orders/{order_id}")
async def read(order: Annotated[OrderOut, Depends(order_of_mine)]) -> OrderOut:
    return order


@app.post("/orders/{order_id}/payment", dependencies=[Depends(role("cashier"))])
async def pay(order: Annotated[OrderOut, Depends(order_of_mine)]) -> OrderOut:
    return order


@app.delete("/orders/{order_id}", status_code=204)
async def delete(order: Annotated[OrderOut, Depends(order_of_mine)]) -> Response:
    return Response(status_code=204)
