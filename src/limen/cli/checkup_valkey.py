"""The checks of ``limen doctor`` where sessions are in Valkey."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from limen.cli.findings import FAIL, OK, WARN, Finding

if TYPE_CHECKING:  # redis-py is installed only where it is used
    from limen.storage.valkey.checkup import ValkeyFacts

OLDEST_MAJOR = 6


def examine_valkey(url: str) -> Iterator[Finding]:
    """Connect as limen does, and say how the server and the connection are."""
    try:
        from limen.storage.valkey.checkup import NotAnswering, look
    except ImportError:
        yield Finding(FAIL, "valkey", "redis-py is not installed", 'run: pip install "limen[valkey]"')
        return
    try:
        facts = asyncio.run(look(url))
    except NotAnswering as error:
        advice = "check host, port, name, password and TLS of LIMEN_VALKEY_URL; until it answers nobody can log in"
        yield Finding(FAIL, "valkey", f"does not answer, or does not let us in ({error})", advice)
        return
    yield _server(facts)
    yield _scripts(facts)
    yield _memory(facts)
    yield _durability(facts)
    yield _transport(facts)


def _server(facts: "ValkeyFacts") -> Finding:
    if facts.cluster:
        advice = "limen speaks to one primary: name one that is no node of a cluster"
        return Finding(FAIL, "valkey", f"{facts.server}, a node of a cluster", advice)
    if not facts.primary:
        return Finding(FAIL, "valkey", f"{facts.server}, a replica", "name the primary in LIMEN_VALKEY_URL")
    if facts.major < OLDEST_MAJOR:
        return Finding(FAIL, "valkey", facts.server, f"limen needs Valkey, or Redis {OLDEST_MAJOR} or newer")
    return Finding(OK, "valkey", f"{facts.server}, a primary")


def _scripts(facts: "ValkeyFacts") -> Finding:
    if not facts.scripts:
        advice = "allow it: +get +set +mget +unlink +eval +evalsha +ping +client|setname +info ~limen:session:*"
        return Finding(FAIL, "valkey rights", "the name in LIMEN_VALKEY_URL may not run scripts", advice)
    return Finding(OK, "valkey rights", "scripts may be run")


def _memory(facts: "ValkeyFacts") -> Finding:
    if facts.policy != "noeviction":
        advice = "maxmemory-policy noeviction: otherwise people are logged out when it is full"
        return Finding(WARN, "valkey memory", f"maxmemory-policy is {facts.policy}", advice)
    return Finding(OK, "valkey memory", "nothing is dropped when it is full")


def _durability(facts: "ValkeyFacts") -> Finding:
    if not facts.fsync:
        advice = "appendonly yes: otherwise a restart logs everybody out"
        return Finding(WARN, "valkey durability", "there is no append-only file", advice)
    if facts.fsync == "no":
        advice = "appendfsync everysec: otherwise a crash logs out whoever used a session half a minute before"
        return Finding(WARN, "valkey durability", "appendfsync is no", advice)
    return Finding(OK, "valkey durability", f"an append-only file, appendfsync {facts.fsync}")


def _transport(facts: "ValkeyFacts") -> Finding:
    if not facts.remote:
        return Finding(OK, "valkey transport", "the server is on this machine")
    if not facts.encrypted:
        advice = "its password passes in the clear, and whoever is on the way can end sessions; use valkeys://"
        return Finding(FAIL, "valkey transport", "another machine, without TLS", advice)
    return Finding(OK, "valkey transport", "another machine, with TLS, its certificate is checked")
