"""A gate from its start to its end: what is opened, what goes on beside the requests, and whether it is ready."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Self

from limen.authz.roles import separated_pairs
from limen.core.errors import LimenError, Unavailable
from limen.core.events import Event, EventName
from limen.core.probe import Probe
from limen.features.approvals.service import ApprovalService
from limen.features.audit.handing_on import LOOK_SECONDS
from limen.features.audit.service import SEAL_SECONDS
from limen.wiring.knowing import KnowingGate

if TYPE_CHECKING:
    # Names only: no cycle is hidden, but a web framework is not imported where nobody serves the web.
    from limen.web.guard import Protection

_log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often a process reads what ended elsewhere; the promise is two seconds."""
SWEEP_SECONDS = 600.0
RETENTION_SECONDS = 3_600.0
TOLD_AGAIN_SECONDS = 60.0


class RunningGate(KnowingGate):
    """The part of a gate that is started and stopped, and works in the background in between.

    Attributes:
        approvals: what a second person approves.
    """

    approvals: ApprovalService
    _protections: "list[Protection]"
    _background: tuple[asyncio.Task[None], ...] = ()
    _started = False
    _leaving = False

    def _prepare_running(
        self,
        default_roles: Mapping[str, Collection[str]] | None,
        separation_of_duty: Iterable[Iterable[str]] | None,
    ) -> None:
        self._default_roles = default_roles or {}
        self._separated = None if separation_of_duty is None else separated_pairs(separation_of_duty)
        self._probe = Probe(self.storage.ping)
        self._protections = []

    async def start(self) -> None:
        """Open the database, bring its schema up to date, write or read the roles, and watch for ended sessions.

        Doing it twice changes nothing. An application that was protected does it at its start, or at its first request.

        Raises:
            ConfigurationError: the database is newer than this version, or behind it where LIMEN_MIGRATE is never.
            Unavailable: the database does not answer.
        """
        if self._started:
            return
        await self.storage.start(migrate=self.settings.migrate == "start")
        if self.signing_keys is not None:
            await self.signing_keys.start()
        await self._write_roles()
        await self._role_watch.catch_up()
        if self.loaded_policies is None:
            self._load_declared()
        await self.sessions.catch_up()
        await self._watch.look()
        await self.approvals.check()
        self._background = self._begin_background()
        if self.external is not None:
            self.external.start()
        self._started, self._leaving = True, False
        _log.info("started", extra=self.settings.describe())

    async def _write_roles(self) -> None:
        """Write what the application declares of roles, where it declares anything."""
        if self._code_roles is not None:
            declared = self._code_roles
            await self.storage.roles.sync(
                {name: declared.permissions_of(frozenset({name})) for name in declared.roles},
                Event(EventName.ROLES_SYNCED, actor="system", data={"roles": sorted(declared.roles)}),
            )
        else:
            await self.roles.seed(self._default_roles)
        if self._separated is not None:
            await self._separate(self._separated)

    async def _separate(self, pairs: frozenset[tuple[str, str]]) -> None:
        told = [list(pair) for pair in sorted(pairs)]
        violators = await self.storage.roles.separate(
            pairs, Event(EventName.ROLES_SEPARATED, actor="system", data={"separated": told})
        )
        unknown = frozenset().union(*pairs) - (await self.storage.roles.read()).roles.keys()
        if unknown:
            _log.warning("separation_of_duty= names roles that are not there", extra={"roles": sorted(unknown)})
        if violators:
            _log.warning(
                "accounts hold two roles that nobody may hold at once; neither counts: see limen roles separated",
                extra={"accounts": violators},
            )

    def _begin_background(self) -> tuple[asyncio.Task[None], ...]:
        work: list[tuple[str, Callable[[], Awaitable[object]], float]] = [
            ("ended sessions", self._follow_ended, POLL_SECONDS),
            ("rollback watch", self._watch.look, POLL_SECONDS),
            ("roles", self._follow_roles, POLL_SECONDS),
            ("housekeeping", self.storage.sweep, SWEEP_SECONDS),
            ("approved actions", self.approvals.work, POLL_SECONDS),
            ("erasures", self.erasures.work, POLL_SECONDS),
        ]
        if self.mail is not None:
            work.append(("mails", self.mail.work, POLL_SECONDS))
        if self.signing_keys is not None:
            work.append(("signing keys", self.signing_keys.catch_up, POLL_SECONDS))
        if self.audit.seals:
            work.append(("sealed trail", self.audit.seal, SEAL_SECONDS))
            if self.settings.audit_retention:
                work.append(("retention", partial(self.audit.retain, self.settings.audit_retention), RETENTION_SECONDS))
        work += [(f"trail sink {number}", each.work, LOOK_SECONDS) for number, each in enumerate(self.sinks.each)]
        return tuple(
            asyncio.create_task(self._repeat(act, seconds, name), name=f"limen: {name}") for name, act, seconds in work
        )

    async def stop(self) -> None:
        """End what `start` began, unless another application of this gate still runs; it may be started again."""
        if any(protection.ready for protection in self._protections):
            return
        tasks, self._background = self._background, ()
        self._started = False
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, RuntimeError):
                await task
        if self.external is not None:
            await self.external.stop()
        await self.storage.stop()
        await self.outbound.aclose()
        self._pool.close()
        _log.info("stopped")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Start, and stop at the end: for scripts, and for applications without a lifespan."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def ready(self) -> Mapping[str, str]:
        """Return where requests can be served. The database is asked once a second at most, and for two at most.

        Returns:
            What an operator has to know all the same: ``{"store": "rolled_back"}`` where the database went back while
            this process ran, until ``limen db restored`` was run; ``{"policies": "refused"}`` where policies were to be
            replaced, and those of before stay in use; ``{"shadow_policies": "refused"}`` where those for the shadow
            cannot be loaded; ``{"trail": "behind"}`` where records of the audit trail wait for more than a minute to be
            sealed, ``{"trail": "broken"}`` where nobody vouches for where its chain stands;
            ``{"trail_sinks": "behind"}`` where a sink has not taken what was sealed five minutes ago; or nothing.

        Raises:
            Unavailable: not started, about to end, the database does not answer, its schema is behind this version, or
                the roles in it cannot be used, or there is no key to sign with.
        """
        if not self._started:
            raise Unavailable("limen has not been started.")
        if self._leaving:
            raise Unavailable("This process is about to end.")
        await self._probe.ask()
        self._role_watch.require_usable()
        if self.signing_keys is not None:
            self.signing_keys.require_usable()
        told = {
            "store": "rolled_back" if self._watch.rolled_back else None,
            "policies": "refused" if self._policies_refused is not None else None,
            "shadow_policies": "refused" if self._shadow_refused is not None else None,
            "trail": "broken" if self.audit.is_broken else "behind" if self.audit.is_behind else None,
            "trail_sinks": "behind" if self.sinks.is_behind else None,
        }
        return {name: word for name, word in told.items() if word is not None}

    def leave(self) -> None:
        """Be ready no more, so that a balancer sends nobody new, while everything else goes on until `stop`."""
        self._leaving = True

    async def _follow_ended(self) -> None:
        await self.sessions.catch_up()
        self.ended.forget_before(int(self._clock() * 1000))

    async def _follow_roles(self) -> None:
        await self._role_watch.catch_up()
        self.changed.forget_before(int(self._clock() * 1000))

    @staticmethod
    async def _repeat(work: Callable[[], Awaitable[object]], seconds: float, name: str = "") -> None:
        """Work again and again, begun so often (seconds) however long it takes; after a failure the pause is whole.

        What fails each time is told once a minute: a database that is down for a night must not fill the disk.
        """
        pause, failed, told = seconds, 0, -math.inf
        while True:
            await asyncio.sleep(pause)
            began, pause = time.monotonic(), seconds
            try:
                await work()
                # What takes longer leaves the database to others for a while all the same.
                pause = max(seconds / 5, seconds - (time.monotonic() - began))
                if failed:
                    _log.info("background work goes on", extra={"work": name, "failures": failed})
                failed, told = 0, -math.inf
            except LimenError as error:
                failed += 1
                if began - told >= TOLD_AGAIN_SECONDS:
                    extra = {"work": name, "code": error.code, "failures": failed}
                    _log.warning("background work failed; it is tried again", extra=extra)
                    told = began
            except Exception:
                failed += 1
                _log.exception("background work failed; it is tried again", extra={"work": name})
