"""The connections to Valkey: one pool for each event loop, bounded in number and in time."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, NoScriptError  # noqa: A004 - redis-py's own

from limen.core.errors import ConfigurationError, LimenError, Unavailable
from limen.storage.valkey.faults import FAILURES, MISCONFIGURED, translated
from limen.storage.valkey.running import Running
from limen.storage.valkey.state import Script, State, key_of, state_of
from limen.storage.valkey.together import Together

CONNECTIONS: Final = 32
"""Connections of one event loop at most; whoever comes then waits for one."""
WAIT_SECONDS: Final = 2.0
"""For a connection, for its being made, and for each answer."""
FORGET_AT_ONCE: Final = 500
"""Keys that are removed in one round trip."""
FORGET_SECONDS: Final = 0.25
"""How long an ending waits for Valkey: it is done when the database has it."""

_log = logging.getLogger(__name__)


def open_client(url: str, *, wait: float = WAIT_SECONDS) -> Redis:
    """Return a client of what ``LIMEN_VALKEY_URL`` names. Nothing is connected before it is used.

    What a broken connection has lost is tried once more, on a new one: after a restart each connection of the pool is
    broken. A script that ran all the same changes nothing the second time, and says that it was not the first. What
    timed out is not tried again: it would take as long.
    """
    pool = BlockingConnectionPool.from_url(
        redis_url(url),
        max_connections=CONNECTIONS,
        timeout=wait,
        socket_timeout=wait,
        socket_connect_timeout=wait,
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
        client_name="limen",
    )
    return Redis.from_pool(pool)


def redis_url(url: str) -> str:
    """Return the URL with the scheme that redis-py knows."""
    scheme, separator, rest = url.partition("://")
    return scheme.replace("valkey", "redis") + separator + rest


class Valkey:
    """What the stores ask of Valkey. Nothing is opened before it is used, so it may be made before a process forks.

    Args:
        url: what ``LIMEN_VALKEY_URL`` says.

    Attributes:
        calls: how many commands were sent.
    """

    def __init__(self, url: str) -> None:
        self.calls = 0
        self._url = url
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Redis] = WeakKeyDictionary()
        self._forgetting: set[asyncio.Task[None]] = set()
        self._states = Together(self._fetch)
        self._running = Running()

    async def start(self) -> None:
        """See that it lets us in. That it does not answer is no reason not to start: everything ends in the database.

        Raises ConfigurationError where it refuses name or password.
        """
        try:
            await self._client().ping()
        except MISCONFIGURED as error:
            raise ConfigurationError(
                f"Valkey refuses LIMEN_VALKEY_URL ({type(error).__name__}): check name, password and rights."
            ) from error
        except FAILURES as error:
            translated(error)

    async def stop(self) -> None:
        """Finish what is being removed, and close the connections. It may be used again."""
        if self._forgetting:
            await asyncio.wait(set(self._forgetting), timeout=WAIT_SECONDS)
        own = asyncio.get_running_loop()
        clients, self._clients = dict(self._clients), WeakKeyDictionary()
        for loop, client in clients.items():
            if loop is own:
                await client.aclose()

    async def ping(self) -> None:
        """Ask for a sign of life; raise Unavailable where there is none."""
        try:
            await self._client().ping()
        except FAILURES as error:
            raise translated(error) from error

    def ask(self, sid: str) -> "asyncio.Future[State | None]":
        """Return what is to be awaited: the session's state, or None. Who asks at the same time shares a question."""
        return self._states.ask(sid)

    async def many(self, sids: Sequence[str]) -> Mapping[str, State]:
        """Return the states of those that are there."""
        return await self._fetch(sids) if sids else {}

    async def begin(self, sid: str, state: State, *, live_ms: int) -> None:
        """Keep a session that is new.

        Raises:
            Unavailable: Valkey failed, or has something under this id.
        """
        if not await self._do("set", key_of(sid), state.text(), nx=True, px=live_ms):
            raise Unavailable("The store of the sessions has another session of this id.")

    async def run(self, script: Script, sid: str, *arguments: str | int) -> State | None:
        """Run a script on a session; return the session as it then is, or None where nothing was changed."""
        self.calls += 1
        return state_of(await self._running.run(self._client(), script, key_of(sid), arguments))

    async def evaluate(self, text: str, sha: str, keys: Sequence[str], arguments: Sequence[str | int]) -> bytes | None:
        """Run a script on several keys as one act; return the text that it answers.

        Raises:
            Unavailable: Valkey failed.
        """
        self.calls += 1
        client = self._client()
        answer: bytes | None
        try:
            try:
                answer = await client.evalsha(sha, len(keys), *keys, *arguments)
            except NoScriptError:
                answer = await client.eval(text, len(keys), *keys, *arguments)
        except FAILURES as error:
            raise translated(error) from error
        return answer

    async def forget(self, sids: Iterable[str]) -> None:
        """Remove what there is of sessions that ended; go on without waiting where that takes long.

        It need not succeed: what the database does not have any more opens nothing, whatever Valkey says.
        """
        task = asyncio.create_task(self._forget([key_of(sid) for sid in sids]), name="limen: sessions leave Valkey")
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)
        await asyncio.wait({task}, timeout=FORGET_SECONDS)

    async def _forget(self, keys: Sequence[str]) -> None:
        try:
            for at in range(0, len(keys), FORGET_AT_ONCE):
                # Each is a command of its own: in a cluster they are in different places.
                pipeline = self._client().pipeline(transaction=False)
                self.calls += len(list(map(pipeline.unlink, keys[at : at + FORGET_AT_ONCE])))
                await pipeline.execute()
        except FAILURES as error:
            translated(error)

    async def _fetch(self, sids: Sequence[str]) -> dict[str, State]:
        texts = await self._do("mget", [key_of(sid) for sid in sids])
        read = ((sid, state_of(text)) for sid, text in zip(sids, texts, strict=True))
        return {sid: state for sid, state in read if state is not None}

    async def _do(self, command: str, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        try:
            return await getattr(self._client(), command)(*arguments, **options)
        except LimenError:
            raise
        except FAILURES as error:
            raise translated(error) from error

    def _client(self) -> Redis:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = open_client(self._url)
        return client


def is_remote(url: str) -> bool:
    """Tell whether the URL names another machine than this one."""
    host = urlsplit(url).hostname or ""
    return host not in {"localhost", "127.0.0.1", "::1"}
