"""The peer: one route, bare or guarded by fastapi-users, with its JWT strategy and its SQLAlchemy adapter on SQLite.

It runs in an environment of its own, which has what ``fastapi_users.txt`` lists and nothing of limen.
"""
# mypy: disable-error-code="import-not-found,misc,untyped-decorator"
# The library is not where limen is checked.

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

SECRET = os.environ["BENCH_SECRET"]
ORDER = {"id": 1, "item": "tea", "amount": 3, "status": "pending"}

engine = create_async_engine(os.environ["BENCH_DATABASE_URL"])
sessions = async_sessionmaker(engine, expire_on_commit=False)


class _Base(DeclarativeBase):
    pass


class Account(SQLAlchemyBaseUserTableUUID, _Base):
    """The table, with the columns that the adapter brings."""


class _Accounts(UUIDIDMixin, BaseUserManager[Account, uuid.UUID]):
    reset_password_token_secret = SECRET
    verification_token_secret = SECRET


async def _session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


async def _table(session: Annotated[AsyncSession, Depends(_session)]) -> AsyncIterator[Any]:
    yield SQLAlchemyUserDatabase(session, Account)


async def _accounts(table: Annotated[Any, Depends(_table)]) -> AsyncIterator[_Accounts]:
    yield _Accounts(table)


def _strategy() -> Any:
    return JWTStrategy(secret=SECRET, lifetime_seconds=3600)


backend = AuthenticationBackend(
    name="jwt", transport=BearerTransport(tokenUrl="auth/jwt/login"), get_strategy=_strategy
)
library = FastAPIUsers[Account, uuid.UUID](_accounts, [backend])
current_active_user = library.current_user(active=True)


@asynccontextmanager
async def _tables(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(_Base.metadata.create_all)
    yield
    await engine.dispose()


def from_environment() -> FastAPI:
    """Make the application; ``BENCH_GUARD`` is ``bare`` or ``guarded``."""
    app = FastAPI(openapi_url=None, lifespan=_tables)
    if os.environ["BENCH_GUARD"] == "bare":

        @app.get("/orders/{order_id}")
        async def read(order_id: int) -> Any:
            return ORDER

        return app

    app.include_router(library.get_auth_router(backend), prefix="/auth/jwt")
    app.include_router(library.get_register_router(schemas.BaseUser, schemas.BaseUserCreate), prefix="/auth")

    @app.get("/orders/{order_id}")
    async def read_guarded(order_id: int, me: Annotated[Account, Depends(current_active_user)]) -> Any:
        return ORDER

    return app
