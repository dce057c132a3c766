"""The checks of ``limen doctor`` for an installation on PostgreSQL."""

import asyncio
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from limen.cli.findings import FAIL, OK, WARN, Finding, schema_finding
from limen.core.errors import ConfigurationError, LimenError
from limen.settings import Settings

if TYPE_CHECKING:  # asyncpg is installed only where it is used
    from limen.storage.sql.postgres_checkup import ServerFacts

OLDEST_POSTGRES = 13
CLOCK_TOLERANCE_SECONDS = 2.0
"""As much as the clocks of two processes may differ when they verify each other's tokens."""
_VERIFIED = {"verify-ca", "verify-full"}
_WANTED = {"synchronous_commit": "on", "transaction_isolation": "read committed"}
_COUNTED = {"limen_accounts": "accounts", "limen_sessions": "sessions", "limen_events": "events"}


def examine_postgres(settings: Settings) -> Iterator[Finding]:
    """Connect as limen does, and say how the server, the role and the connection are."""
    try:
        from limen.storage.sql.postgres_checkup import NoPrimary, look
    except ImportError:
        yield Finding(FAIL, "database", "asyncpg is not installed", 'run: pip install "limen[postgres]"')
        return
    try:
        facts = asyncio.run(look(settings.database_url))
    except NoPrimary:
        advice = "name the primary, or all hosts, in LIMEN_DATABASE_URL: limen writes, and judges no token by a replica"
        yield Finding(FAIL, "database", "answers, but is a replica", advice)
        return
    except (ConfigurationError, LimenError) as error:
        advice = "check host, port, role, password and pg_hba.conf; is the server up, and has it a connection left?"
        yield Finding(FAIL, "database", f"does not answer, or does not let us in: {_why(error)}", advice)
        return
    yield _server(facts)
    yield _durability(facts)
    yield schema_finding(facts.schema)
    yield _role(facts)
    yield from _rights(facts)
    yield _transport(facts, settings.database_url)
    yield _connections(facts, settings.database_pool)
    yield _clock(facts)
    counted = [f"about {facts.rows[table]} {word}" for table, word in _COUNTED.items() if table in facts.rows]
    if counted:
        yield Finding(OK, "size", f"{', '.join(counted)} (PostgreSQL's estimates)")


def _why(error: Exception) -> str:
    """Return what the driver said, which stands behind what limen says to callers; no URL is in it."""
    cause = error.__cause__
    return str(error) if cause is None else f"{type(cause).__name__}, {cause}".splitlines()[0]


def _server(facts: "ServerFacts") -> Finding:
    found = f"PostgreSQL {facts.version}, a primary"
    if facts.major < OLDEST_POSTGRES:
        return Finding(FAIL, "database", found, f"limen needs PostgreSQL {OLDEST_POSTGRES} or newer")
    return Finding(OK, "database", found)


def _durability(facts: "ServerFacts") -> Finding:
    off = [f"{name} is {facts.settings[name]}" for name, value in _WANTED.items() if facts.settings[name] != value]
    if off:
        advice = "something between limen and PostgreSQL drops what limen sets on its connections (a pooler?)"
        return Finding(FAIL, "durability", ", ".join(off), advice)
    if not facts.durable:
        advice = "turn both on: a crash of the server may damage the database, and revive what was revoked"
        return Finding(WARN, "durability", "fsync or full_page_writes is off", advice)
    return Finding(OK, "durability", "what is acknowledged is on the disk")


def _role(facts: "ServerFacts") -> Finding:
    if facts.superuser:
        return Finding(WARN, "role", "a superuser", "a role of its own, which owns its database and no more, is enough")
    return Finding(OK, "role", "no superuser")


def _rights(facts: "ServerFacts") -> Iterator[Finding]:
    if facts.lacking:
        found = f"the role may not use {', '.join(facts.lacking)}"
        advice = "GRANT SELECT, INSERT, UPDATE, DELETE on tables and USAGE on sequences, or make it their owner"
        yield Finding(FAIL, "rights", found, advice)
    elif not facts.owns_all or not facts.creates:
        advice = "LIMEN_MIGRATE=never, and limen db upgrade as the role that owns the tables"
        yield Finding(WARN, "rights", "the role reads and writes, but cannot migrate", advice)
    else:
        yield Finding(OK, "rights", "the role reads, writes and migrates")


def _transport(facts: "ServerFacts", url: str) -> Finding:
    if not facts.remote:
        return Finding(OK, "transport", "the server is on this machine")
    if not facts.encrypted:
        advice = "passwords' hashes pass in the clear; turn TLS on and add ?sslmode=verify-full to LIMEN_DATABASE_URL"
        return Finding(FAIL, "transport", "another machine, without TLS", advice)
    mode = parse_qs(urlsplit(url).query).get("sslmode", [os.environ.get("PGSSLMODE", "prefer")])[-1]
    if mode not in _VERIFIED:
        advice = "whoever is on the way may pass for the server; ?sslmode=verify-full (and sslrootcert=) ends that"
        return Finding(
            WARN, "transport", f"another machine, with TLS, sslmode={mode}: no certificate is checked", advice
        )
    return Finding(OK, "transport", f"another machine, with TLS, sslmode={mode}")


def _connections(facts: "ServerFacts", pool: int) -> Finding:
    processes = facts.room // pool
    found = f"{facts.room} for this role, {pool} for a process: {processes} processes (--workers, on all machines)"
    if processes < 2:
        advice = "a second process finds none left: raise max_connections, or lower LIMEN_DATABASE_POOL"
        return Finding(WARN, "connections", found, advice)
    return Finding(OK, "connections", found)


def _clock(facts: "ServerFacts") -> Finding:
    apart = abs(facts.clock_ahead)
    found = f"the database's clock is {apart:.1f} s {'ahead' if facts.clock_ahead > 0 else 'behind'}"
    if apart > CLOCK_TOLERANCE_SECONDS:
        return Finding(WARN, "database clock", found, "run NTP on both: tokens carry this machine's time, sessions its")
    return Finding(OK, "database clock", found)
