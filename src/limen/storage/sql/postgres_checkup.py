"""Looks at a PostgreSQL server as limen's role sees it; changes nothing, and asks for nothing that takes long."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from limen.core.errors import ConfigurationError
from limen.storage.sql.migrations import Schema
from limen.storage.sql.postgres import PostgresStorage
from limen.storage.sql.postgres_faults import CONNECTION_IS_LOST, translated_at_start
from limen.storage.sql.postgres_pool import PostgresConnection
from limen.storage.sql.statement import Statement, Steps, row, rows

_SERVER = Statement("""
SELECT current_setting('server_version'), current_setting('server_version_num')::int,
       current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on',
       current_setting('synchronous_commit'), current_setting('transaction_isolation'),
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int,
       r.rolsuper, r.rolconnlimit, d.datconnlimit,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
       coalesce(host(inet_server_addr()), ''), coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)
  FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()
""")

_CLOCK = Statement("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")

# The two tables about the schema are only read, unless the role migrates, and then it owns them.
_RIGHTS = Statement("""
SELECT c.relname,
       CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE')
            WHEN starts_with(c.relname::text, 'limen_schema_') THEN has_table_privilege(c.oid, 'SELECT')
            ELSE has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
                 AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE') END,
       pg_has_role(c.relowner, 'USAGE'), greatest(c.reltuples, 0)::bigint
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'S') AND starts_with(c.relname::text, 'limen_')
 ORDER BY c.relname
""")


class NoPrimary(ConfigurationError):
    """The server answers, and none of the hosts is a primary."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server is like, and what limen's role may do there.

    Attributes:
        version: such as ``15.4``.
        major: such as 15.
        durable: what it acknowledged outlives a crash (``fsync`` and ``full_page_writes`` are on).
        settings: what holds on limen's own connections, by name.
        clock_ahead: seconds by which its clock is ahead of this machine's.
        superuser: whether the role may do anything.
        room: connections that this role may open in this database; those of others take from it.
        encrypted: whether the connection is.
        remote: whether the server is on another machine, as far as its address tells.
        creates: whether the role may create tables.
        lacking: tables and sequences of limen that the role may not use.
        owns_all: whether the role owns all of them, as a migration wants.
        rows: estimates of how many rows there are, by table.
        schema: which one it bears.
    """

    version: str
    major: int
    durable: bool
    settings: Mapping[str, str]
    clock_ahead: float
    superuser: bool
    room: int
    encrypted: bool
    remote: bool
    creates: bool
    lacking: tuple[str, ...]
    owns_all: bool
    rows: Mapping[str, int]
    schema: Schema


async def look(url: str) -> ServerFacts:
    """Look at the server that a URL names, for a few seconds at most.

    Raises:
        NoPrimary: none of its hosts takes writes.
        ConfigurationError: it refuses the role.
        Unavailable: it does not answer.
    """
    try:
        connection = await PostgresConnection.open(url)
        try:
            schema = await PostgresStorage(url, pool_size=1).schema()
            return await connection.drive(_facts(schema), 0)
        finally:
            await connection.close()
    except asyncpg.exceptions.TargetServerAttributeNotMatched as error:
        raise NoPrimary("PostgreSQL answers, but is no primary.") from error
    except (asyncpg.PostgresError, *CONNECTION_IS_LOST) as error:
        raise translated_at_start(error) from error


def _facts(schema: Schema) -> Steps[ServerFacts]:
    server = yield from row(_SERVER)
    if server is None:
        raise ConfigurationError("PostgreSQL does not know the role it let in.")
    # Twice: the first time the statement is prepared as well, which takes a round trip more.
    yield from row(_CLOCK)
    asked = time.time()
    clock = yield from row(_CLOCK)
    ahead = (clock[0] / 1000 if clock is not None else asked) - (asked + time.time()) / 2
    tables = yield from rows(_RIGHTS)
    limits = [server[5], *(limit for limit in server[7:9] if limit >= 0)]
    return ServerFacts(
        version=server[0].split()[0],
        major=server[1] // 10_000,
        durable=server[2],
        settings={"synchronous_commit": server[3], "transaction_isolation": server[4]},
        clock_ahead=ahead,
        superuser=server[6],
        room=min(limits),
        encrypted=server[9],
        remote=bool(server[10]) and not server[10].startswith("127.") and server[10] != "::1",
        creates=server[11],
        lacking=tuple(table for table, allowed, _, _ in tables if not allowed),
        owns_all=all(owned for _, _, owned, _ in tables),
        rows={table: count for table, _, _, count in tables},
        schema=schema,
    )
