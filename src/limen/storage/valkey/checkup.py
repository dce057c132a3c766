"""Looks at a Valkey server as limen sees it; changes nothing, and asks for nothing that takes long."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from limen.core.ids import uuid7
from limen.storage.valkey.client import is_remote, open_client
from limen.storage.valkey.faults import FAILURES, name_of
from limen.storage.valkey.state import TOUCH, key_of


class NotAnswering(Exception):
    """It could not be asked; the text is the kind of failure and holds nothing of the address."""


@dataclass(frozen=True, slots=True)
class ValkeyFacts:
    """What a server is like.

    Attributes:
        server: such as ``Valkey 9.1.2``.
        major: of the protocol's version, which Valkey counts on from Redis 7.
        primary: whether it takes writes.
        cluster: whether it is a node of a cluster.
        scripts: whether limen may run its scripts.
        policy: what it does when its memory is full.
        fsync: how often the log is written to the disk; empty where there is no log, «?» where it does not tell.
        remote: whether it is on another machine.
        encrypted: whether the connection is.
    """

    server: str
    major: int
    primary: bool
    cluster: bool
    scripts: bool
    policy: str
    fsync: str
    remote: bool
    encrypted: bool


async def look(url: str) -> ValkeyFacts:
    """Connect as limen does, and look.

    Raises:
        NotAnswering: it does not answer, or does not let us in.
    """
    client = open_client(url)
    try:
        told: Mapping[str, Any] = await client.info()
        return ValkeyFacts(
            server=_server(told),
            major=int(str(told.get("redis_version", "0")).split(".")[0]),
            primary=told.get("role") == "master",
            cluster=bool(told.get("cluster_enabled")),
            scripts=await _may_run(client),
            policy=str(told.get("maxmemory_policy", "?")),
            fsync=await _fsync(client) if told.get("aof_enabled") else "",
            remote=is_remote(url),
            encrypted=url.partition(":")[0] in {"valkeys", "rediss"},
        )
    except FAILURES as error:
        raise NotAnswering(name_of(error)) from None
    finally:
        await client.aclose()


def _server(told: Mapping[str, Any]) -> str:
    valkey = told.get("valkey_version")
    return f"Valkey {valkey}" if valkey else f"Redis {told.get('redis_version', '?')}"


async def _may_run(client: Redis) -> bool:
    """Run a script on a session that nobody has, which does nothing."""
    try:
        await client.eval(TOUCH.text, 1, key_of(uuid7()), 0, 0, "", 0)
    except NoPermissionError:
        return False
    except ResponseError:
        # A replica, or another node of a cluster: told by what they are.
        return True
    return True


async def _fsync(client: Redis) -> str:
    try:
        told = await client.config_get("appendfsync")
    except RedisError:
        return "?"
    return str(told.get("appendfsync", "?"))
