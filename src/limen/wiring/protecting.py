"""Puts an application under guard, with limen's own routes beside the application's."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limen.authn.own_strategy import security_schemes_of
from limen.core.errors import ConfigurationError
from limen.wiring.running import RunningGate

if TYPE_CHECKING:
    # Names only: no cycle is hidden, but a web framework is not imported where nobody serves the web.
    from limen.guard.requirements import Requirement
    from limen.web.guard import Protection
    from limen.web.guard.declarations import Declaration
    from limen.web.guard.own_routes import OwnRoutes
    from limen.web.routes.administration import Administered
    from limen.web.routes.schema import Paths


@dataclass(frozen=True, slots=True)
class _Added:
    """What `protect` was told to add of limen's own routes."""

    prefix: str
    health: bool
    administration: bool
    approvals: bool


class ProtectingGate(RunningGate):
    """The part of a gate that protects applications."""

    def protect(
        self,
        app: Any,
        *,
        strict: bool = False,
        prefix: str = "/auth",
        health: bool = False,
        administration: bool = False,
        approvals: bool = False,
    ) -> None:
        """Put a FastAPI or Starlette application under guard, and add limen's own routes to it.

        From then on every route asks who is calling; ``@public`` is the only way out. Call it before the first request;
        routes may be added before and after.

        Args:
            app: the application.
            strict: refuse to start where a route states nothing.
            prefix: what the paths of limen's routes begin with.
            health: add ``/healthz`` and ``/readyz`` too, as the stand-alone server has them.
            administration: add ``/admin/api/…`` too, for whoever holds the permissions `limen.ADMINISTRATION`.
            approvals: add ``/approvals`` too, for the actions of `approvals`.

        Raises:
            ConfigurationError: it is no such application, or is protected by another gate, or has served already.
        """
        # Imported here: whoever only runs the command line, or a worker, needs no web framework.
        from limen.web.guard import protect

        if self.recovery is not None:
            self.recovery.prefix = prefix
        adds = _Added(prefix, health, administration, approvals)
        extra = {
            "paths": self._schema_of(adds),
            "components": {"securitySchemes": security_schemes_of(self._strategies)},
        }
        protection = protect(app, self, strict=strict, own_routes=self._routes_of(adds), openapi_extra=extra)
        if "fastapi" in sys.modules:
            from limen.web.validation import hide_input

            hide_input(app)
        if protection not in self._protections:
            self._protections.append(protection)

    def _routes_of(self, adds: "_Added") -> "OwnRoutes":
        from limen.web.devices import DeviceCookies
        from limen.web.routes.session_cookie import Cookies
        from limen.web.routes.table import own_routes

        certificates, https_only, logins = self.client_certificates, self.cookies.https_only, self.throttling.logins
        # Also who is only told of new devices, by mail, has to know the old ones.
        known_devices = logins.devices if logins.counts or self.mail is not None else None
        return own_routes(
            adds.prefix,
            accounts=self.accounts,
            login=self.login,
            sessions=self.sessions,
            ended=self.ended_feed,
            keys=lambda: self.bearer.keys,
            cookies=Cookies(
                self.cookie_login,
                self._csrf,
                https_only,
                DeviceCookies(known_devices, https_only=https_only),
            ),
            forwarding=self.forwarding,
            proxies=self.proxies,
            throttling=self.throttling,
            personal_data=self.personal_data,
            registration_open=self.settings.registration == "open",
            ready=self.ready if adds.health else None,
            administration=self._administered() if adds.administration else None,
            api_keys=None if self.api_keys is None else self.api_keys.service,
            public_url=self.settings.public_url,
            sso=self.sso,
            certificates=certificates.service if certificates.strategy is not None else None,
            approvals=self.approvals if adds.approvals else None,
            recovery=self.recovery,
        )

    def _schema_of(self, adds: "_Added") -> "Paths":
        from limen.web.routes.table import paths_of_schema

        return paths_of_schema(
            adds.prefix,
            registration_open=self.settings.registration == "open",
            health=adds.health,
            administration=adds.administration,
            api_keys=self.api_keys is not None,
            sso=self.sso is not None,
            certificates=self.client_certificates.strategy is not None,
            approvals=adds.approvals,
            recovery=self.recovery is not None,
        )

    def _administered(self) -> "Administered":
        from limen.web.routes.administration import Administered

        return Administered(
            roles=self.roles,
            accounts=self.accounts,
            administration=self.administration,
            sessions=self.sessions,
            events=self.events,
            client_certificates=self.client_certificates.service,
            permissions=self.permissions,
            explain=self.explain_account,
            policy_differences=self.policy_differences,
            throttling=self.throttling,
            api_keys=self.api_keys,
            recovery=self.recovery,
        )

    def public_mount(self, path: str) -> None:
        """Open to everybody what is mounted at a path: static files, a foreign application, ``/docs``.

        Raises:
            ConfigurationError: nothing is protected yet, or there is another rule for this path.
        """
        for protection in self._protected():
            protection.public_mount(path)

    def mount_rule(self, path: str, rule: "Requirement | Declaration") -> None:
        """Declare what is required for everything that is mounted at a path, such as ``roles("admin")``.

        Raises:
            ConfigurationError: nothing is protected yet, or there is another rule for this path.
        """
        for protection in self._protected():
            protection.mount_rule(path, rule)

    def public_docs(self) -> None:
        """Open ``/docs``, ``/redoc`` and ``/openapi.json`` of a FastAPI application to everybody.

        Raises:
            ConfigurationError: nothing is protected yet.
        """
        for protection in self._protected():
            protection.public_docs()

    def _protected(self) -> "list[Protection]":
        if not self._protections:
            raise ConfigurationError("Call protect(app) first: rules for mounts belong to a protected application.")
        return self._protections
