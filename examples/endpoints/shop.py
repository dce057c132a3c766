"""An application of somebody who has never heard of limen. Two of its routes let anybody at the orders of others.

limen check shop:app
"""

from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

app = FastAPI()
bearer = HTTPBearer()


class Order(BaseModel):
    id: int
    owner_id: int
    item: str


ACCOUNTS: dict[str, int] = {}
ORDERS: dict[int, Order] = {}


def current_account(given: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> int:
    account_id = ACCOUNTS.get(given.credentials)
    if account_id is None:
        raise HTTPException(status_code=401)
    return account_id


Me = Annotated[int, Depends(current_account)]


@app.get("/orders")
def orders(me: Me) -> list[Order]:
    return [each for each in ORDERS.values() if each.owner_id == me]


@app.get("/orders/{order_id}")
def order(order_id: int, me: Me) -> Order:
    return ORDERS[order_id]


@app.delete("/orders/{order_id}")
def delete(order_id: int) -> None:
    del ORDERS[order_id]
