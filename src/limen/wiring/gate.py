"""Limen: the one object that an application holds. It puts settings, store, features, strategies and guard together."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from limen.authn.api_key import KeyCredential, is_by_key
from limen.authn.client_certificate import CertificateCredential, is_by_certificate_alone
from limen.authn.external import ExternalIssuer
from limen.authn.external_tokens import ExternalCredential
from limen.authn.message import is_by_message
from limen.authn.own_strategy import OwnStrategy, security_schemes_of
from limen.authn.strategy import Attribution, Authenticated
from limen.authz.attributes import AttributeLoader
from limen.authz.explaining import PolicyResources, ResourceLoader
from limen.authz.roles import RoleCatalogue, separated_pairs
from limen.core.clock import Clock, system_clock
from limen.core.errors import ConfigurationError, LimenError, PolicyDenied, Unavailable
from limen.core.events import Event, EventName
from limen.core.held import given
from limen.core.principal import Principal
from limen.core.probe import Probe
from limen.features.accounts.existing import ExistingAccounts
from limen.features.approvals.service import ApprovalService, ApprovalView, ByPolicy
from limen.features.sso.providers import SSOProvider
from limen.settings import Settings
from limen.storage import ApplicationConnection
from limen.web.deciding import DecidingGate, PolicyContext
from limen.wiring.explaining import explain_account
from limen.wiring.parts import Parts

if TYPE_CHECKING:
    # Names only: no cycle is hidden, but a web framework is not imported where nobody serves the web.
    from limen.authz.compilers.explain import Explanation
    from limen.authz.policy.rules import PolicySet, Rule
    from limen.guard.requirements import Requirement
    from limen.web.behind_gateway import BehindGateway
    from limen.web.guard import Protection
    from limen.web.guard.declarations import Declaration
    from limen.web.resource_server import ResourceServer
    from limen.web.routes.administration import Administered

_log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often a process reads what ended elsewhere; the promise is two seconds."""
SWEEP_SECONDS = 600.0


class Limen(DecidingGate, Parts):
    """Authentication and authorization for one application.

    Args:
        settings: what it was told.
        roles: the roles that the application declares: name to permissions (``resource:action``). They are written to
            the database at start. None takes the roles that are stored there alone.
        default_roles: where `roles` is None, what to write into a database that has never had any role.
        separation_of_duty: sets of roles of which nobody may hold two at once, such as ``[{"maker", "checker"}]``. They
            are written to the database at start; None leaves those that are there, and an empty list removes them.
        attributes: loads what the application knows of its own users beside the token; see `attributes_of`.
        policies: what is allowed and denied, declared in code. They are loaded once the roles are known: here, or at
            `start` where the roles are in the database; and again where roles change.
        policy_context: tells policies what the application knows of a request or a message, by name, without I/O; what
            is not told is unknown to them.
        policy_resources: for each model an async function that loads a resource by its id, as text, with everything
            that rules read; for administrators who ask why, see `explain_account`.
        existing_accounts: an existing table of users, asked for names that limen does not know.
        issuers: others whose access tokens count beside this limen's.
        strategies: ways of the application's own to say who is calling.
        sso: the providers of single sign-on, beside those that the settings declare.
        clock: the time in seconds since 1970 UTC; tests turn it.

    Raises:
        ConfigurationError: a setting or a role is unsafe or unusable.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        roles: Mapping[str, Iterable[str]] | None = None,
        default_roles: Mapping[str, Collection[str]] | None = None,
        separation_of_duty: Iterable[Iterable[str]] | None = None,
        attributes: AttributeLoader | None = None,
        policies: "PolicySet | Iterable[Rule] | None" = None,
        policy_context: PolicyContext | None = None,
        policy_resources: Mapping[type[Any], ResourceLoader] | None = None,
        existing_accounts: ExistingAccounts | None = None,
        issuers: Sequence[ExternalIssuer] = (),
        sso: Sequence[SSOProvider] = (),
        strategies: Sequence[OwnStrategy] = (),
        clock: Clock = system_clock,
    ) -> None:
        self._prepare_policies(policies, attributes, policy_context, clock)
        self._policy_resources = PolicyResources(policy_resources)
        super().__init__(
            settings,
            roles=roles,
            existing_accounts=existing_accounts,
            issuers=issuers,
            sso=sso,
            strategies=strategies,
            clock=clock,
        )
        self.approvals = ApprovalService(
            self.storage.approvals,
            roles=self.roles,
            live=self._live_subject,
            catalogue=lambda: self.catalogue,
            using=self.storage.using,
            borrowed=self.storage.borrowed,
            record=self.sessions.record,
        )
        self.approvals.use_policy(ByPolicy(self._approvable))
        self._default_roles = default_roles or {}
        self._separated = None if separation_of_duty is None else separated_pairs(separation_of_duty)
        if roles is not None:
            self._load_declared()
        self._background: tuple[asyncio.Task[None], ...] = ()
        self._started = False
        self._leaving = False
        self._probe = Probe(self.storage.ping)
        self._protections: list[Protection] = []

    @classmethod
    def from_env(
        cls,
        *,
        roles: Mapping[str, Iterable[str]] | None = None,
        separation_of_duty: Iterable[Iterable[str]] | None = None,
        attributes: AttributeLoader | None = None,
        policies: "PolicySet | Iterable[Rule] | None" = None,
        policy_context: PolicyContext | None = None,
        policy_resources: Mapping[type[Any], ResourceLoader] | None = None,
        existing_accounts: ExistingAccounts | None = None,
        issuers: Sequence[ExternalIssuer] = (),
        sso: Sequence[SSOProvider] = (),
        strategies: Sequence[OwnStrategy] = (),
        env_file: str | os.PathLike[str] | None = None,
        clock: Clock = system_clock,
        **overrides: Any,
    ) -> Self:
        """Make one from the environment (``LIMEN_…``), or from a file that is named, never from a ``.env`` nearby.

        Args:
            roles: the roles that the application declares.
            separation_of_duty: sets of roles of which nobody may hold two at once.
            attributes: loads what the application knows of its own users.
            policies: what is allowed and denied.
            policy_context: tells policies what the application knows of a request or a message.
            policy_resources: loads resources for administrators who ask why.
            existing_accounts: an existing table of users.
            issuers: others whose access tokens count beside this limen's.
            strategies: ways of the application's own to say who is calling.
            sso: the providers of single sign-on, beside those that the settings declare.
            env_file: a file of settings; the environment wins. ``LIMEN_ENV_FILE`` names one too.
            clock: the time in seconds since 1970 UTC.
            overrides: settings by their lower-case names, which win over both.

        Raises:
            ConfigurationError: a setting is missing, unsafe or unusable; one line each, never with the value.
        """
        return cls(
            Settings.load(env_file=env_file, **overrides),
            roles=roles,
            separation_of_duty=separation_of_duty,
            attributes=attributes,
            policies=policies,
            policy_context=policy_context,
            policy_resources=policy_resources,
            existing_accounts=existing_accounts,
            issuers=issuers,
            sso=sso,
            strategies=strategies,
            clock=clock,
        )

    @staticmethod
    def resource_server(
        *,
        issuer: str,
        audience: str,
        jwks_url: str | None = None,
        roles: Mapping[str, Iterable[str]] | None = None,
        cors_origins: Iterable[str] = (),
        trusted_proxies: Sequence[str] = (),
        watch_key: str | None = None,
        watch_url: str | None = None,
        when_blind: Literal["serve", "refuse"] = "serve",
        attributes: AttributeLoader | None = None,
        policies: "PolicySet | Iterable[Rule] | None" = None,
        policy_context: PolicyContext | None = None,
        clock: Clock = system_clock,
    ) -> "ResourceServer":
        """Make a gate for a service that verifies the tokens of a limen elsewhere, by its public keys alone.

        It has no database and logs nobody in. The keys are fetched at the start, every five minutes, and where a token
        names one that is not known, every ten seconds at most. With a ``watch_key`` it learns within two seconds which
        sessions ended; without, a token is good until it expires, 15 minutes at most. ``@live`` answers 503 there.

        Args:
            issuer: the exact ``iss``: ``LIMEN_ISSUER`` of the other one.
            audience: what ``aud`` must be.
            jwks_url: where the keys are; ``/.well-known/jwks.json`` of the issuer where it is not given.
            roles: what the roles in a token allow here: name to permissions. None takes them as they are, and they give
                no permission.
            cors_origins: the web origins whose pages may call.
            trusted_proxies: the proxies in front of it, as in ``LIMEN_TRUSTED_PROXIES``.
            watch_key: an API key at the issuer whose owner may ``sessions:watch``. Never written into code.
            watch_url: where the list of ended sessions is; ``/auth/ended`` of the issuer where it is not given.
            when_blind: what happens where that list has not been heard for ten seconds: tokens count until they expire
                (``serve``), or every one is answered 503 (``refuse``).
            attributes: loads what this service knows of who calls, beside the token.
            policies: what is allowed and denied here.
            policy_context: tells policies what this service knows of a request.
            clock: the time in seconds since 1970 UTC.

        Raises:
            ConfigurationError: an address that is not https, or a role that is unusable.
        """
        from limen.web.resource_server import ResourceServer

        return ResourceServer(
            issuer=issuer,
            audience=audience,
            jwks_url=jwks_url,
            roles=roles,
            cors_origins=cors_origins,
            trusted_proxies=trusted_proxies,
            watch_key=watch_key,
            watch_url=watch_url,
            when_blind=when_blind,
            attributes=attributes,
            policies=policies,
            policy_context=policy_context,
            clock=clock,
        )

    @staticmethod
    def behind_gateway(
        *,
        issuer: str,
        jwks_url: str | None = None,
        roles: Mapping[str, Iterable[str]] | None = None,
        cors_origins: Iterable[str] = (),
        trusted_proxies: Sequence[str] = (),
        attributes: AttributeLoader | None = None,
        policies: "PolicySet | Iterable[Rule] | None" = None,
        policy_context: PolicyContext | None = None,
        clock: Clock = system_clock,
    ) -> "BehindGateway":
        """Make a gate for a service behind a gateway that asks a limen elsewhere (``/auth/verify``) for each request.

        It takes the token that the gateway hands on in ``X-Limen-Token``, verified by the public keys, and no other
        credential: whoever reaches the service past the gateway is nobody. ``@live`` answers 503 there.

        Args:
            issuer: the exact ``iss``: ``LIMEN_ISSUER`` of the other one, which must not sign with HS256.
            jwks_url: where the keys are; ``/.well-known/jwks.json`` of the issuer where it is not given.
            roles: what roles allow here: name to permissions, beside the permissions that the token states. None takes
                both as they are.
            cors_origins: the web origins whose pages may call.
            trusted_proxies: the gateway, as in ``LIMEN_TRUSTED_PROXIES``, for the client's address.
            attributes: loads what this service knows of who calls, beside the token.
            policies: what is allowed and denied here.
            policy_context: tells policies what this service knows of a request.
            clock: the time in seconds since 1970 UTC.

        Raises:
            ConfigurationError: an address that is not https, or a role that is unusable.
        """
        from limen.web.behind_gateway import BehindGateway

        return BehindGateway(
            issuer=issuer,
            jwks_url=jwks_url,
            roles=roles,
            cors_origins=cors_origins,
            trusted_proxies=trusted_proxies,
            attributes=attributes,
            policies=policies,
            policy_context=policy_context,
            clock=clock,
        )

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
        from limen.web.routes.session_cookie import Cookies
        from limen.web.routes.table import own_routes, paths_of_schema

        is_open = self.settings.registration == "open"
        certificates = self.client_certificates
        routes = own_routes(
            prefix,
            accounts=self.accounts,
            login=self.login,
            sessions=self.sessions,
            ended=self.ended_feed,
            keys=lambda: self.bearer.keys,
            cookies=Cookies(self.cookie_login, self._csrf, self.cookies.https_only),
            forwarding=self.forwarding,
            proxies=self.proxies,
            registration_open=is_open,
            ready=self.ready if health else None,
            administration=self._administered() if administration else None,
            api_keys=None if self.api_keys is None else self.api_keys.service,
            public_url=self.settings.public_url,
            sso=self.sso,
            certificates=certificates.service if certificates.strategy is not None else None,
            approvals=self.approvals if approvals else None,
        )
        schema = paths_of_schema(
            prefix,
            registration_open=is_open,
            health=health,
            administration=administration,
            api_keys=self.api_keys is not None,
            sso=self.sso is not None,
            certificates=certificates.strategy is not None,
            approvals=approvals,
        )
        extra = {"paths": schema, "components": {"securitySchemes": security_schemes_of(self._strategies)}}
        protection = protect(app, self, strict=strict, own_routes=routes, openapi_extra=extra)
        if "fastapi" in sys.modules:
            from limen.web.validation import hide_input

            hide_input(app)
        if protection not in self._protections:
            self._protections.append(protection)

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
            api_keys=self.api_keys,
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
        await self._role_watch.catch_up()
        if self.loaded_policies is None:
            self._load_declared()
        await self.sessions.catch_up()
        await self._watch.look()
        await self.approvals.check()
        self._background = (
            asyncio.create_task(self._repeat(self._follow_ended, POLL_SECONDS), name="limen: ended sessions"),
            asyncio.create_task(self._repeat(self._watch.look, POLL_SECONDS), name="limen: rollback watch"),
            asyncio.create_task(self._repeat(self._follow_roles, POLL_SECONDS), name="limen: roles"),
            asyncio.create_task(self._repeat(self.storage.sweep, SWEEP_SECONDS), name="limen: housekeeping"),
            asyncio.create_task(self._repeat(self.approvals.work, POLL_SECONDS), name="limen: approved actions"),
        )
        if self.signing_keys is not None:
            following = self._repeat(self.signing_keys.catch_up, POLL_SECONDS)
            self._background += (asyncio.create_task(following, name="limen: signing keys"),)
        if self.external is not None:
            self.external.start()
        self._started, self._leaving = True, False
        _log.info("started", extra=self.settings.describe())

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

    def using(self, connection: ApplicationConnection) -> AbstractAsyncContextManager[None]:
        """Work in the application's transaction: what is called in the block is committed, or rolled back, with it.

        ::

            async with engine.begin() as connection, gate.using(connection):
                account = await gate.accounts.create("ann", password)
                await connection.execute(insert(profiles).values(sub=account.id, city="Turin"))

        Everything that accounts, sessions and roles can do may be done, in the task that entered the block; tasks begun
        in it work on limen's own connections. Tokens are not issued there. A verb that is refused (a name is taken)
        leaves the transaction as it was before the verb. limen's records belong to the transaction as well. Other
        processes, and this one, learn at their next look after the commit what was ended.

        Args:
            connection: an AsyncConnection or AsyncSession of SQLAlchemy to the database of ``LIMEN_DATABASE_URL``, with
                the driver asyncpg or aiosqlite, in a READ COMMITTED transaction.

        Raises:
            ConfigurationError: another database, driver, or isolation; or a token was asked for.
        """
        return self.storage.using(connection)

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
            replaced, and those of before stay in use; otherwise nothing.

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
        told = {"store": "rolled_back"} if self._watch.rolled_back else {}
        return {**told, "policies": "refused"} if self._policies_refused is not None else told

    def leave(self) -> None:
        """Be ready no more, so that a balancer sends nobody new, while everything else goes on until `stop`."""
        self._leaving = True

    @property
    def challenges(self) -> tuple[str, ...]:
        """The authentication schemes that a 401 names (RFC 9110, section 11.6.1)."""
        return self.chain.challenges

    def authenticate(self, scope: MutableMapping[str, Any], state: Attribution) -> Awaitable[None] | None:
        """Find out who is calling: at once where memory can tell, else by awaiting what is returned."""
        if self._strip_first is not None:
            self._strip_first(scope)
        return self.chain.attribute(scope, state)

    async def live(self, principal: Principal) -> Principal:
        """Ask the database about a principal, and return it as it is now: with the roles that the account holds now.

        Raises:
            SessionEnded, AccountNotActive: it must not be let through.
            Unavailable: the database does not answer, which is a no.
        """
        if principal.issuer is not None:
            if self.external is None:
                raise PolicyDenied()
            return await self.external.live(principal)
        for strategy in self.own_strategies:
            if strategy.is_of(principal):
                return await strategy.live(principal)
        if is_by_key(principal) and self.api_keys is not None:
            return await self.api_keys.strategy.live(principal)
        by_certificate = self.client_certificates.strategy
        if by_certificate is not None and is_by_certificate_alone(principal):
            return await by_certificate.live(principal)
        if is_by_message(principal):
            return await self.messages.live(principal)
        roles, permissions = given(await self._held_now(principal), self._role_names(), self._permissions_of)
        return replace(principal, roles=roles, permissions=permissions)

    async def _live_subject(self, principal: Principal) -> Principal:
        """Return the principal as the database and the application's loader have it now."""
        return await self.subject_of(await self.live(principal))

    def _approvable(self, principal: Principal, action: str, request: ApprovalView) -> bool:
        """Tell whether policies let somebody approve a request; where no rule is about it they have no say.

        A permission by which they approve does not count where it is denied, as on a route that asks for it.
        """
        loaded = self.loaded_policies
        if loaded is None:
            return True
        for name in {action, *self.approvals.permissions_for(request.action)}:
            if loaded.denied_by_names(principal, name, None) is not None:
                return False
        return not loaded.policies.rules_for(action) or loaded.can(principal, action, request)

    async def explain_account(self, account: str, action: str, resource: str | None = None) -> "Explanation":
        """Return why an account may do something, or may not, with values: for an administrator, never for the caller.

        It goes by the roles, permissions and attributes that the account has now, and by no request: what
        ``policy_context`` tells is unknown. An account that is switched off may do nothing.

        Args:
            account: its id or its username.
            action: ``resource:action``.
            resource: ``Model:id``, loaded by ``policy_resources``; None for none in particular.

        Raises:
            NotFound: there are no policies, no such account, or no such resource.
            InvalidInput: an action that nobody knows, or a model that nothing loads.
            Unavailable: what loads the resource or the attributes failed.
        """
        return await explain_account(self, self._policy_resources, account, action, resource)

    def still_valid(self, state: Attribution) -> bool:
        """Tell whether an open connection may stay open: credential in time, session not ended, roles unchanged.

        Asks no store.
        """
        known = state.credential
        if not isinstance(known, Authenticated):
            return not state.principal.is_authenticated
        if isinstance(known, ExternalCredential):
            return self.external is not None and self.external.fault_of(known) is None
        if isinstance(known, KeyCredential):
            return self.api_keys is not None and self.api_keys.strategy.still_valid(known)
        if isinstance(known, CertificateCredential):
            by_certificate = self.client_certificates.strategy
            return by_certificate is not None and by_certificate.still_valid(known)
        return self.bearer.fault_of(known) is None

    def _use(self, catalogue: RoleCatalogue) -> None:
        others = catalogue.permissions != self.catalogue.permissions or catalogue.roles != self.catalogue.roles
        super()._use(catalogue)
        if others and self.loaded_policies is not None:
            # Wildcards stand for the actions there are, and what a role gives is another thing now.
            self._load_declared()

    def _known_permissions(self) -> frozenset[str]:
        by_rules = (rule.permissions for issuer in self._issuers for rule in issuer.rules)
        return frozenset(self.catalogue.permissions.union(*by_rules))

    def _permissions_of_roles(self) -> Callable[[frozenset[str]], frozenset[str]]:
        return self.catalogue.permissions_of

    async def _follow_ended(self) -> None:
        await self.sessions.catch_up()
        self.ended.forget_before(int(self._clock() * 1000))

    async def _follow_roles(self) -> None:
        await self._role_watch.catch_up()
        self.changed.forget_before(int(self._clock() * 1000))

    @staticmethod
    async def _repeat(work: Callable[[], Awaitable[object]], seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except LimenError as error:
                _log.warning("background work failed; it is tried again", extra={"code": error.code})
            except Exception:
                _log.exception("background work failed; it is tried again")
