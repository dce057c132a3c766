"""Everything that `limen check` looks for, each once. Nothing here is to be copied: `good.py` is how it should be.

limen check bad:app
"""

import hashlib
import logging
import random
from functools import wraps
from typing import Annotated, Any

import httpx
from fastapi import Body, Depends, FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import APIKeyCookie, OAuth2PasswordBearer
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from pydantic import BaseModel

from limen.fastapi import public, roles

log = logging.getLogger(__name__)


class SessionMiddleware:
    """Stands for Starlette's, which needs one package more to be imported."""

    def __init__(self, app: Any, secret_key: str) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


app = FastAPI()
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True)  # LC011
SECRET_KEY = "tr0ub4dor-and-3-more"  # LC106
app.add_middleware(SessionMiddleware, secret_key=SECRET_KEY)  # LC012

oauth2 = OAuth2PasswordBearer(tokenUrl="login")
session = APIKeyCookie(name="session")
database: Any = None


class Account(BaseModel):
    id: int
    name: str
    password_hash: str = ""


class Transfer(BaseModel):
    user_id: int
    amount: int


def current(token: Annotated[str, Depends(oauth2)]) -> Account:
    try:
        claims = jwt.decode(token, OctKey.import_key(SECRET_KEY), algorithms=["HS256"]).claims
    except JoseError:
        raise HTTPException(status_code=401) from None
    return Account(id=claims["sub"], name="")


def by_cookie(value: Annotated[str, Depends(session)]) -> None:
    if not database.execute("SELECT 1 FROM sessions WHERE id = ?", (value,)):
        raise HTTPException(status_code=401)
    if value:
        raise HTTPException(status_code=403)


def somehow(request: Request) -> None:
    request.app.state.plugins.verify(request)


def cached(function: Any) -> Any:
    @wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


@app.get("/accounts")  # LC001, LC007
def accounts() -> list[Account]:
    return []


# limen: accept LC001 until 2026-01-31 because the new login comes in January
@app.get("/prices")  # LC001: what was accepted is over
def prices() -> int:
    return 0


@app.get("/reports", dependencies=[Depends(somehow)])  # LC002
def reports() -> int:
    return 0


@app.post("/products", dependencies=[Depends(current)])  # LC003, LC006
def add_product(transfer: Transfer) -> int:
    return 0


@app.get("/orders/{order_id}")  # LC004, LC008
def order(order_id: int, me: Annotated[Account, Depends(current)]) -> Any:
    return order_id


@app.put("/orders", dependencies=[Depends(current)])  # LC003, LC005
def change_orders(orders: dict[str, Any]) -> int:
    return 0


@app.post("/payments")  # LC009, LC112
def pay(transfer: Transfer, me: Annotated[Account, Depends(current)]) -> int:
    account = database.get(Account, transfer.user_id)
    return int(account.balance - me.id)


@app.post("/login")  # LC010, LC101, LC102, LC111, LC113
def login(name: Annotated[str, Body()], password: Annotated[str, Body()], response: Response) -> int:
    row = database.execute(f"SELECT * FROM accounts WHERE name = '{name}'")
    stored_password = row.password
    if hashlib.sha256(password.encode()).hexdigest() == stored_password:
        response.set_cookie("session", "1", samesite="none")
    return 0


@app.post("/notes", dependencies=[Depends(by_cookie)])  # LC015
def add_note(note: Annotated[str, Body(embed=True)]) -> int:
    return 0


@app.get("/files")  # LC016
def files(token: Annotated[str, Depends(oauth2)]) -> int:
    return 0


@app.get("/news")  # LC109
@cached
@public
def news() -> int:
    return 0


@roles("admin")  # LC110
@app.delete("/news")
def delete_news() -> int:
    return 0


@app.get("/status", dependencies=[Depends(current)])  # LC103, LC104, LC105, LC107, LC108
def status(token: str = "") -> int:
    reset_token = random.randint(0, 999_999)
    httpx.get("https://billing.internal", verify=False)
    import jwt as pyjwt  # it need not be there to be looked at

    pyjwt.decode(token, options={"verify_signature": False})
    log.info("asked with %s", token)
    try:
        verify_signature(token)
    except Exception:
        log.info("not signed")
    # limen: accept LC103
    return reset_token


def verify_signature(token: str) -> None:
    if not token:
        raise HTTPException(status_code=401)
