"""Puts the guard into an application: `protect`, and what it leaves behind."""

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.core.errors import ConfigurationError
from limen.guard.requirements import PUBLIC, Requirement
from limen.web.guard.declarations import Declaration, requirement_of
from limen.web.guard.dispatch import instrument
from limen.web.guard.leaves import is_framework_page
from limen.web.guard.openapi import describing
from limen.web.guard.outer import put_guard_around
from limen.web.guard.own_routes import OwnRoutes
from limen.web.guard.rewriting import refuse_rewritten_addresses
from limen.web.guard.rules import PathRules
from limen.web.guard.selftest import assert_guard_holds
from limen.web.guard.state import Gate
from limen.web.guard.walk import ListedLeaf, faults, walk

_PROTECTION_OF_APP = "limen_protection"

_log = logging.getLogger("limen.guard")


class Protection:
    """One application under guard.

    Attributes:
        app: the application.
        gate: who authenticates.
        strict: whether every route must state something.
        rules: what is declared for leaves that the guard cannot see into.
        ready: it was started, walked and tested.
    """

    def __init__(self, app: Starlette, gate: Gate, *, strict: bool) -> None:
        self.app = app
        self.gate = gate
        self.strict = strict
        self.rules = PathRules()
        self.ready = False
        self._refusal: str | None = None
        self._starting = threading.Lock()

    def public_mount(self, path: str) -> None:
        """Open what is mounted at a path to everybody: static files, a foreign application, a frontend, ``/docs``.

        Raises:
            ConfigurationError: there is another rule for this path already.
        """
        self.mount_rule(path, PUBLIC)

    def mount_rule(self, path: str, rule: Requirement | Declaration) -> None:
        """Declare what is required for everything that is mounted at a path.

        Args:
            path: the path of the mount from the application's root; a host's pattern for an application mounted by
                host; ``*`` for a handler of the application's own that its router calls when nothing matched.
            rule: such as ``roles("admin")``.

        Raises:
            ConfigurationError: there is another rule for this path already.
        """
        self.rules.declare(path, requirement_of(rule))

    def public_docs(self) -> None:
        """Open the pages that FastAPI makes of the application's schema: /docs, /redoc, /openapi.json."""
        for route in self.app.routes:
            if is_framework_page(getattr(route, "endpoint", None)):
                self.public_mount(str(getattr(route, "path", "")))

    def leaves(self) -> list[ListedLeaf]:
        """Return every leaf of the application, in the order in which its routers look at them."""
        return list(walk(self.app.router))

    async def ensure_started(self) -> None:
        """Start the gate, walk the tree, and test the guard, unless that is done.

        Raises:
            ConfigurationError: something is unguarded or contradicts itself; every later call raises it again.
            LimenError: the gate could not start; the next call tries again.
        """
        while not self.ready:
            if self._refusal is not None:
                raise ConfigurationError(self._refusal)
            if not self._starting.acquire(blocking=False):
                await anyio.sleep(0.005)  # another task, or another thread's event loop, is at it
                continue
            try:
                if not self.ready:
                    await self._start()
            except ConfigurationError as error:
                self._refusal = str(error)
                raise
            finally:
                self._starting.release()

    async def _start(self) -> None:
        refuse_rewritten_addresses(self.gate.proxies)
        await self.gate.start()
        leaves = self.leaves()
        found = faults(leaves, self.rules, self.gate.catalogue, self.gate.loaded_policies, strict=self.strict)
        if found:
            raise ConfigurationError("limen refuses to start this application:\n- " + "\n- ".join(found))
        await assert_guard_holds(self.app, has_policies=self.gate.loaded_policies is not None)
        for each in leaves:
            if each.leaf.stated.stray_public and not each.leaf.stated.public:
                _log.warning(
                    "a @public does not count, because it is on something that the registered endpoint wraps: make it "
                    "the outermost decorator",
                    extra={"route": each.name},
                )
        self.ready = True

    async def serve_lifespan(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Start before the application does, check when it has, and stop after it."""
        is_running = False

        async def stop() -> None:
            nonlocal is_running
            if is_running:
                is_running = self.ready = False
                await self.gate.stop()

        async def starting_receive() -> Message:
            nonlocal is_running
            message = await receive()
            if message["type"] == "lifespan.startup":
                is_running = True
                try:
                    await self.gate.start()
                except Exception as error:
                    # Without this message servers take the failure for «no lifespan», and serve all the same.
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    raise
            return message

        async def checking_send(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                # Only now: the application's own start may have added routes.
                await self.ensure_started()
            elif message["type"] in {"lifespan.shutdown.complete", "lifespan.shutdown.failed"}:
                await stop()
            await send(message)

        try:
            await app(scope, starting_receive, checking_send)
        finally:
            await stop()


def protect(
    app: Any,
    gate: Gate,
    *,
    strict: bool = False,
    own_routes: OwnRoutes | None = None,
    openapi_extra: Mapping[str, Any] | None = None,
) -> Protection:
    """Put an application under guard.

    Args:
        app: a Starlette or FastAPI application, before its first request.
        gate: who authenticates.
        strict: refuse to start where a route states nothing.
        own_routes: limen's own, looked at before the application's.
        openapi_extra: a partial document, with ``paths`` and ``components``, that is added to the one of a FastAPI
            application.

    Returns:
        the protection; the same one when the application is protected again by the same gate.

    Raises:
        ConfigurationError: it is no such application, has served requests already, or is protected by another gate.
    """
    if not isinstance(app, Starlette):
        raise ConfigurationError(f"protect() takes a Starlette or FastAPI application, not {type(app).__name__}")
    present = vars(app).get(_PROTECTION_OF_APP)
    if isinstance(present, Protection):
        if present.gate is not gate:
            raise ConfigurationError("the application is protected by another Limen object already")
        present.strict = present.strict or strict
        return present
    if app.middleware_stack is not None:
        raise ConfigurationError("protect() comes before the application's first request")
    protection = Protection(app, gate, strict=strict)
    put_guard_around(app, protection)
    instrument(app.router).own = own_routes
    setattr(app, _PROTECTION_OF_APP, protection)
    openapi = getattr(app, "openapi", None)
    if callable(openapi):
        app.openapi = describing(openapi, protection.leaves, openapi_extra or {})  # type: ignore[attr-defined]
    return protection


def protections(app: object) -> Iterable[Protection]:
    """Return the protection of an application, if it has one."""
    present = getattr(app, "__dict__", {}).get(_PROTECTION_OF_APP)
    return (present,) if isinstance(present, Protection) else ()
