"""Made-up accounts in bulk, for measuring; nobody can use their sessions.

A session made here is a row without a token. What it keeps in place of the hash of a secret are random bytes, of which
nobody knows what they would be the hash of, and its ``kid`` is that of no secret, so nothing can be derived from it. So
this is no second door: `limen.authn.issuing` alone makes what can be presented.
"""

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any, Final, Protocol

from limen.core.errors import Conflict
from limen.core.ids import uuid7

KID: Final = "seeded"
"""Stands where a session names its secret. The ids of secrets are longer."""

Row = tuple[Any, ...]

_ACCOUNT: Final = ("id", "username", "status", "password_hash", "created_at")
_ROLE: Final = ("account_id", "role")
_SESSION: Final = (
    "id", "account_id", "account_epoch", "kind", "generation", "token_hash", "kid", "rotated_at", "idle_until",
    "ends_at", "created_at", "auth_time", "amr", "client_id", "user_agent", "address",
)  # fmt: skip
_USER_AGENT: Final = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)

_ADD_ACCOUNT: Final = """
INSERT INTO limen_accounts (id, username, status, password_hash, created_at) VALUES (?, ?, ?, ?, ?)
"""
_ADD_ROLE: Final = "INSERT INTO limen_account_roles (account_id, role) VALUES (?, ?)"
_ADD_SESSION: Final = """
INSERT INTO limen_sessions (
    id, account_id, account_epoch, kind, generation, token_hash, kid, rotated_at, idle_until, ends_at, created_at,
    auth_time, amr, client_id, user_agent, address)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What all seeded accounts have in common.

    Attributes:
        password_hash: of the one password they have.
        roles: what each of them holds.
        client_id: of their sessions.
        idle_ms: how long their sessions live if nobody uses them, in milliseconds.
        max_ms: how long they live at most, in milliseconds.
    """

    password_hash: str
    roles: Sequence[str]
    client_id: str
    idle_ms: int
    max_ms: int


class Seeding(Protocol):
    """Puts rows into an open database."""

    async def add(self, usernames: Sequence[str], sessions: int, pattern: Pattern) -> None:
        """Add an account for each name, and so many sessions, dealt out among them in turn; all of it or nothing.

        Raises:
            Conflict: a name is taken, or a role is not there.
        """
        ...

    async def finish(self) -> None:
        """Have the database look at how much there is now: its plans go by that."""
        ...


@asynccontextmanager
async def seeding(database_url: str) -> AsyncIterator[Seeding]:
    """Open the database, which has the schema of this version, for as long as the context lasts."""
    if database_url.startswith("sqlite:"):
        from limen.storage.sql.sqlite import path_of
        from limen.storage.sql.sqlite_file import connect

        with closing(connect(path_of(database_url))) as file:
            yield _SQLite(file)
        return
    import asyncpg

    server = await asyncpg.connect(database_url, timeout=10)
    try:
        yield _Postgres(server)
    finally:
        await server.close(timeout=10)


class _SQLite:
    """One transaction a call; it keeps the event loop of the one command that runs."""

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file

    async def add(self, usernames: Sequence[str], sessions: int, pattern: Pattern) -> None:
        accounts, roles, rows = _made(usernames, sessions, pattern)
        self._file.execute("BEGIN IMMEDIATE")
        try:
            self._file.executemany(_ADD_ACCOUNT, accounts)
            self._file.executemany(_ADD_ROLE, roles)
            self._file.executemany(_ADD_SESSION, rows)
        except sqlite3.IntegrityError:
            self._file.execute("ROLLBACK")
            raise Conflict() from None
        self._file.execute("COMMIT")

    async def finish(self) -> None:
        self._file.execute("ANALYZE")


class _Postgres:
    """One transaction a call, by COPY."""

    def __init__(self, server: Any) -> None:
        self._server = server

    async def add(self, usernames: Sequence[str], sessions: int, pattern: Pattern) -> None:
        from asyncpg import IntegrityConstraintViolationError

        accounts, roles, rows = _made(usernames, sessions, pattern)
        copy = self._server.copy_records_to_table
        try:
            async with self._server.transaction():
                await copy("limen_accounts", records=accounts, columns=_ACCOUNT)
                await copy("limen_account_roles", records=roles, columns=_ROLE)
                await copy("limen_sessions", records=rows, columns=_SESSION)
        except IntegrityConstraintViolationError:
            raise Conflict() from None

    async def finish(self) -> None:
        # As the database would do by itself, in its own time.
        await self._server.execute("VACUUM (ANALYZE) limen_accounts, limen_account_roles, limen_sessions", timeout=600)


def _made(usernames: Sequence[str], sessions: int, pattern: Pattern) -> tuple[list[Row], list[Row], list[Row]]:
    """Return the rows of accounts, roles and sessions."""
    now = round(time.time() * 1000)
    ids = [uuid7() for _ in usernames]
    accounts = [(sid, name, "active", pattern.password_hash, now) for sid, name in zip(ids, usernames, strict=True)]
    roles = [(sid, role) for sid in ids for role in pattern.roles]
    # Random bytes in place of a hash: no secret has been there whose hash they could be.
    noise = os.urandom(32 * sessions)
    idle_until = now + min(pattern.idle_ms, pattern.max_ms)
    times = (now, idle_until, now + pattern.max_ms, now, now)
    rest = ("pwd", pattern.client_id, _USER_AGENT, "192.0.2.1")
    rows = [
        (uuid7(), ids[number % len(ids)], 0, "refresh", 0, noise[32 * number : 32 * number + 32], KID, *times, *rest)
        for number in range(sessions)
    ]
    return accounts, roles, rows
