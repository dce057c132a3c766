"""Limen: the one object that an application holds. It puts settings, store, features, strategies and guard together."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from limen.authn.api_key import KeyCredential, is_by_key
from limen.authn.bearer import BearerStrategy
from limen.authn.chain import AuthenticationChain
from limen.authn.changed_roles import ChangedRoles
from limen.authn.cookie import CookieSession, CookieStrategy, CookieTerms
from limen.authn.ended import EndedSessions
from limen.authn.issuing import Door, TokenTerms
from limen.authn.strategy import Attribution, Authenticated
from limen.authz.attributes import AttributeLoader, Attributes, load_attributes
from limen.authz.roles import RoleCatalogue
from limen.core.clock import Clock, system_clock
from limen.core.errors import ConfigurationError, LimenError, Unavailable
from limen.core.events import Event, EventName
from limen.core.principal import Principal
from limen.core.probe import Probe
from limen.crypto.claims import ACCESS_TYP, REFRESH_TYP, AccessClaims, RefreshClaims
from limen.crypto.claims_cache import ClaimsCache
from limen.crypto.hashing_pool import HashingPool
from limen.crypto.jwt import TokenVerifier
from limen.crypto.keys import KeySet, SigningKey, hkdf_sha256
from limen.crypto.passwords import PasswordHasher
from limen.crypto.refresh import RefreshKeys
from limen.features.accounts.administration import AccountAdministration
from limen.features.accounts.existing import ExistingAccounts, TakingOver
from limen.features.accounts.password_policy import host_words
from limen.features.accounts.service import AccountService
from limen.features.api_keys.building import KeySettings, build_api_keys
from limen.features.events.service import EventService
from limen.features.login.cookies import CookieLogin
from limen.features.login.service import LoginService
from limen.features.maintenance.service import MaintenanceService
from limen.features.maintenance.watch import RollbackWatch
from limen.features.roles.service import RoleService
from limen.features.roles.watch import RoleWatch
from limen.features.sessions.service import SessionService
from limen.features.signing_keys.service import SigningKeyService
from limen.features.signing_keys.vault import Vault
from limen.settings import Settings
from limen.storage import ApplicationConnection, Storage, open_storage

if TYPE_CHECKING:
    # Names only: no cycle is hidden, but a web framework is not imported where nobody serves the web.
    from limen.guard.requirements import Requirement
    from limen.web.attributes import Connection
    from limen.web.cors import CorsPolicy
    from limen.web.csrf import CsrfCheck
    from limen.web.guard import Protection
    from limen.web.guard.declarations import Declaration
    from limen.web.resource_server import ResourceServer
    from limen.web.routes.administration import Administered

_log = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often a process reads what ended elsewhere; the promise is two seconds."""
SWEEP_SECONDS = 600.0
CLOCK_LEEWAY = 2
"""Seconds beyond its end for which a token is accepted."""
CLOCK_AHEAD = 600
"""Seconds by which a token of this installation may come from the future: the database stamps tokens, and this
process's clock may be minutes behind its."""
KEEP_ENDED_MARGIN = 60
"""Seconds an ended session stays listed beyond the life of its last access token: the clocks of verifiers differ."""


class Limen:
    """Authentication and authorization for one application.

    Args:
        settings: what it was told.
        roles: the roles that the application declares: name to permissions (``resource:action``). They are written to
            the database at start. None takes the roles that are stored there alone.
        default_roles: where `roles` is None, what to write into a database that has never had any role.
        attributes: loads what the application knows of its own users beside the token; see `attributes_of`.
        existing_accounts: an existing table of users, asked for names that limen does not know.
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
        attributes: AttributeLoader | None = None,
        existing_accounts: ExistingAccounts | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.settings = settings
        self.catalogue = RoleCatalogue({} if roles is None else roles)
        self._code_roles = None if roles is None else self.catalogue
        self._default_roles = default_roles or {}
        self._attributes = attributes
        self._existing_accounts = existing_accounts
        self._clock = clock
        self.storage: Storage = open_storage(settings.database_url, clock=clock, pool_size=settings.database_pool)
        self.ended = EndedSessions()
        self.changed = ChangedRoles()
        self._seen: ClaimsCache[Authenticated] = ClaimsCache()
        self._pool = HashingPool()
        self._background: tuple[asyncio.Task[None], ...] = ()
        self._started = False
        self._leaving = False
        self._probe = Probe(self.storage.ping)
        self._protections: list[Protection] = []
        self._build(settings)

    @classmethod
    def from_env(
        cls,
        *,
        roles: Mapping[str, Iterable[str]] | None = None,
        attributes: AttributeLoader | None = None,
        existing_accounts: ExistingAccounts | None = None,
        env_file: str | os.PathLike[str] | None = None,
        clock: Clock = system_clock,
        **overrides: Any,
    ) -> Self:
        """Make one from the environment (``LIMEN_…``), or from a file that is named, never from a ``.env`` nearby.

        Args:
            roles: the roles that the application declares.
            attributes: loads what the application knows of its own users.
            existing_accounts: an existing table of users.
            env_file: a file of settings; the environment wins. ``LIMEN_ENV_FILE`` names one too.
            clock: the time in seconds since 1970 UTC.
            overrides: settings by their lower-case names, which win over both.

        Raises:
            ConfigurationError: a setting is missing, unsafe or unusable; one line each, never with the value.
        """
        return cls(
            Settings.load(env_file=env_file, **overrides),
            roles=roles,
            attributes=attributes,
            existing_accounts=existing_accounts,
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
        clock: Clock = system_clock,
    ) -> "ResourceServer":
        """Make a gate for a service that verifies the tokens of a limen elsewhere, by its public keys alone.

        It has no database and logs nobody in. The keys are fetched at the start, every five minutes, and where a token
        names one that is not known, every ten seconds at most. That a session has ended it does not learn: a token is
        good until it expires, 15 minutes at most. ``@live`` answers 503 there.

        Args:
            issuer: the exact ``iss``: ``LIMEN_ISSUER`` of the other one.
            audience: what ``aud`` must be.
            jwks_url: where the keys are; ``/.well-known/jwks.json`` of the issuer where it is not given.
            roles: what the roles in a token allow here: name to permissions. None takes them as they are, and they give
                no permission.
            cors_origins: the web origins whose pages may call.
            clock: the time in seconds since 1970 UTC.

        Raises:
            ConfigurationError: an address that is not https, a role that is unusable, or httpx is not installed.
        """
        from limen.web.resource_server import ResourceServer

        return ResourceServer(
            issuer=issuer, audience=audience, jwks_url=jwks_url, roles=roles, cors_origins=cors_origins, clock=clock
        )

    def _build(self, settings: Settings) -> None:
        cookie_terms = CookieTerms(
            idle=settings.cookie_idle_ttl,
            most=settings.cookie_max_ttl,
            remembered_idle=settings.remembered_idle_ttl,
            remembered_most=settings.remembered_max_ttl,
        )
        keep_ended_ms = (settings.access_ttl + KEEP_ENDED_MARGIN) * 1000
        # Keys that are kept in the database come at the start.
        secrets = () if settings.keeps_keys else (settings.jwt_access_secret, *settings.jwt_access_secrets_accepted)
        access_keys = _signing_keys(secrets)
        refresh_signing_keys = _signing_keys((settings.jwt_refresh_secret, *settings.jwt_refresh_secrets_accepted))
        refresh_keys = RefreshKeys(
            settings.jwt_refresh_secret.get_secret_value(),
            [secret.get_secret_value() for secret in settings.jwt_refresh_secrets_accepted],
        )
        self.door = Door(
            self.storage.issuing,
            terms=TokenTerms(
                issuer=settings.issuer,
                audience=settings.audience,
                access_ttl=settings.access_ttl,
                refresh_ttl=settings.refresh_ttl,
                session_max_ttl=settings.session_max_ttl,
            ),
            access_key=access_keys[0] if access_keys else None,
            refresh_keys=refresh_keys,
            refresh_signing_keys=refresh_signing_keys,
            cookie_terms=cookie_terms,
        )
        self.sessions = SessionService(
            self.storage.sessions,
            self.door,
            verifier=TokenVerifier(
                refresh_keys.key_set,
                issuer=settings.issuer,
                audience=settings.issuer,
                typ=REFRESH_TYP,
                claims=RefreshClaims,
                max_lifetime=settings.session_max_ttl,
                leeway=CLOCK_LEEWAY,
                ahead=CLOCK_AHEAD,
                clock=self._clock,
            ),
            ended=self.ended,
            leeway=settings.refresh_leeway,
            keep_ended_ms=keep_ended_ms,
            clock=self._clock,
        )
        self._build_accounts(settings, keep_ended_ms)
        self.maintenance = MaintenanceService(
            self.storage.maintenance, record=self.sessions.record, keep_ended_ms=keep_ended_ms
        )
        self._watch = RollbackWatch(self.storage.maintenance, record=self.sessions.record)
        self._role_watch = RoleWatch(self.storage.roles, self.changed, self._use)
        self.roles = RoleService(
            self.storage.roles,
            record=self.sessions.record,
            roles_changed=self._role_watch.catch_up,
            keep_ended_ms=keep_ended_ms,
        )
        self.administration = AccountAdministration(
            self.accounts,
            self.storage.accounts,
            sessions=self.sessions,
            roles=self.roles,
            record=self.sessions.record,
            keep_ended_ms=keep_ended_ms,
            roles_changed=self._role_watch.catch_up,
        )
        self.events = EventService(self.storage.trail)
        self.signing_keys = self._signing_key_service(settings, keep_ended_ms)
        self.bearer = self._bearer(settings, access_keys)
        self.cookies = CookieStrategy(
            self.storage.cookies,
            self.ended,
            terms=cookie_terms,
            proof=self._cookie_fault,
            permissions_of=self._permissions_of,
            known_roles=self._role_names,
            https_only=(settings.public_url or "").startswith("https:"),
        )
        self.cookie_login = CookieLogin(self.login, self.door, self.sessions, self.cookies)
        self.api_keys = build_api_keys(
            KeySettings(
                [secret.get_secret_value() for secret in settings.data_secrets],
                settings.api_key_environment,
                settings.api_key_ttl,
                settings.api_key_max_ttl,
                keep_ended_ms,
            ),
            self.storage.api_keys,
            self.storage.issuing_keys,
            ended=self.ended,
            accounts=self.accounts,
            sessions=self.sessions,
            roles=self.roles,
            permissions_of=self._permissions_of,
            known_roles=self._role_names,
            clock=self._clock,
        )
        keys = [] if self.api_keys is None else [self.api_keys.strategy]
        self.chain = AuthenticationChain([self.bearer, self.cookies, *keys])

    @cached_property
    def _csrf(self) -> "CsrfCheck":
        # Imported here: whoever only runs the command line, or a worker, needs no web framework.
        from limen.web.csrf import CsrfCheck, CsrfTokens

        settings = self.settings
        secrets = settings.data_secrets or (settings.jwt_access_secret, *settings.jwt_access_secrets_accepted)
        return CsrfCheck(
            CsrfTokens(secret.get_secret_value() for secret in secrets),
            self.cors,
            public_origin=_origin_of_url(settings.public_url),
            https_only=self.cookies.https_only,
        )

    def _cookie_fault(self, scope: Mapping[str, Any], session: CookieSession) -> LimenError | None:
        return self._csrf.fault(scope, session)

    def _build_accounts(self, settings: Settings, keep_ended_ms: int) -> None:
        self.accounts = AccountService(
            self.storage.accounts,
            hasher=PasswordHasher(settings.password_hasher, bcrypt_cost=settings.bcrypt_cost),
            pool=self._pool,
            known_roles=self._role_names,
            password_min_length=settings.password_min_length,
            forbidden_words=["limen", *host_words(settings.issuer)],
            keep_ended_ms=keep_ended_ms,
            record=self.sessions.record,
            sessions_ended=self.sessions.catch_up,
            taking_over=self._taking_over(),
        )
        self.login = LoginService(
            self.accounts,
            self.door,
            record=self.sessions.record,
            pseudonym_key=hkdf_sha256(settings.jwt_access_secret.get_secret_value().encode(), b"limen/events/name/1"),
            client_id=settings.audience,
        )

    def _taking_over(self) -> TakingOver | None:
        if self._existing_accounts is None:
            return None
        return TakingOver(self._existing_accounts, self.storage.accounts, known_roles=self._role_names)

    def _signing_key_service(self, settings: Settings, keep_ms: int) -> SigningKeyService | None:
        if settings.signing_alg == "HS256":
            return None
        return SigningKeyService(
            self.storage.signing_keys,
            Vault(secret.get_secret_value() for secret in settings.data_secrets),
            alg=settings.signing_alg,
            use=self._use_keys,
            keep_ms=keep_ms,
        )

    def _use_keys(self, signing: SigningKey | None, keys: KeySet) -> None:
        """Verify with these keys from now on, and only then sign with one of them."""
        self.bearer.use_keys(keys)
        self.door.use_access_key(signing)

    def _bearer(self, settings: Settings, access_keys: list[SigningKey]) -> BearerStrategy:
        return BearerStrategy(
            TokenVerifier(
                KeySet(access_keys) if access_keys else KeySet.empty(),
                issuer=settings.issuer,
                audience=settings.audience,
                typ=ACCESS_TYP,
                claims=AccessClaims,
                max_lifetime=settings.access_ttl,
                leeway=CLOCK_LEEWAY,
                ahead=CLOCK_AHEAD,
                clock=self._clock,
            ),
            self._seen,
            self.ended,
            changed=self.changed,
            permissions_of=self._permissions_of,
            known_roles=self._role_names,
            clock=self._clock,
            learn=None if self.signing_keys is None else self.signing_keys.learn,
        )

    def _use(self, catalogue: RoleCatalogue) -> None:
        """Go by other roles from now on; what was remembered of tokens has the permissions of those before."""
        self.catalogue = catalogue
        self._seen.clear()
        if self.api_keys is not None:
            self.api_keys.strategy.forget()

    def _role_names(self) -> frozenset[str]:
        return self.catalogue.names

    def _permissions_of(self, roles: frozenset[str]) -> frozenset[str]:
        return self.catalogue.permissions_of(roles)

    def protect(
        self,
        app: Any,
        *,
        strict: bool = False,
        prefix: str = "/auth",
        health: bool = False,
        administration: bool = False,
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

        Raises:
            ConfigurationError: it is no such application, or is protected by another gate, or has served already.
        """
        # Imported here: whoever only runs the command line, or a worker, needs no web framework.
        from limen.web.guard import protect
        from limen.web.routes.session_cookie import Cookies
        from limen.web.routes.table import own_routes, paths_of_schema

        is_open = self.settings.registration == "open"
        routes = own_routes(
            prefix,
            accounts=self.accounts,
            login=self.login,
            sessions=self.sessions,
            keys=lambda: self.bearer.keys,
            cookies=Cookies(self.cookie_login, self._csrf, self.cookies.https_only),
            registration_open=is_open,
            ready=self.ready if health else None,
            administration=self._administered() if administration else None,
            api_keys=None if self.api_keys is None else self.api_keys.service,
        )
        schema = paths_of_schema(
            prefix,
            registration_open=is_open,
            health=health,
            administration=administration,
            api_keys=self.api_keys is not None,
        )
        protection = protect(app, self, strict=strict, own_routes=routes, openapi_extra={"paths": schema})
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
        await self._role_watch.catch_up()
        await self.sessions.catch_up()
        await self._watch.look()
        self._background = (
            asyncio.create_task(self._repeat(self._follow_ended, POLL_SECONDS), name="limen: ended sessions"),
            asyncio.create_task(self._repeat(self._watch.look, POLL_SECONDS), name="limen: rollback watch"),
            asyncio.create_task(self._repeat(self._follow_roles, POLL_SECONDS), name="limen: roles"),
            asyncio.create_task(self._repeat(self.storage.sweep, SWEEP_SECONDS), name="limen: housekeeping"),
        )
        if self.signing_keys is not None:
            following = self._repeat(self.signing_keys.catch_up, POLL_SECONDS)
            self._background += (asyncio.create_task(following, name="limen: signing keys"),)
        self._started, self._leaving = True, False
        _log.info("started", extra=self.settings.describe())

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
        await self.storage.stop()
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
            this process ran, until ``limen db restored`` was run; otherwise nothing.

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
        return {"store": "rolled_back"} if self._watch.rolled_back else {}

    def leave(self) -> None:
        """Be ready no more, so that a balancer sends nobody new, while everything else goes on until `stop`."""
        self._leaving = True

    @property
    def cors(self) -> "CorsPolicy":
        """The origins that may read answers and open sockets."""
        from limen.web.cors import CorsPolicy

        return CorsPolicy.of(self.settings.cors_origins, credentials=True)

    @property
    def challenges(self) -> tuple[str, ...]:
        """The authentication schemes that a 401 names (RFC 9110, section 11.6.1)."""
        return self.chain.challenges

    def authenticate(self, scope: MutableMapping[str, Any], state: Attribution) -> Awaitable[None] | None:
        """Find out who is calling: at once where memory can tell, else by awaiting what is returned."""
        return self.chain.attribute(scope, state)

    async def attributes_of(self, who: "Principal | Connection") -> Attributes:
        """Return what the loader of ``attributes=`` tells of a principal: read-only, and bounded in time.

        Args:
            who: a request or socket, for which it is loaded once, when it is first asked for; or a principal.

        Raises:
            LimenError: the loader failed, which is a no.
        """
        if isinstance(who, Principal):
            return await load_attributes(self._attributes, who)
        from limen.web.attributes import attributes_in

        return await attributes_in(who.scope, self, partial(load_attributes, self._attributes))

    async def live(self, principal: Principal) -> Principal:
        """Ask the database about a principal, and return it as it is now: with the roles that the account holds now.

        Raises:
            SessionEnded, AccountNotActive: it must not be let through.
            Unavailable: the database does not answer, which is a no.
        """
        if is_by_key(principal) and self.api_keys is not None:
            return await self.api_keys.strategy.live(principal)
        state = await self.sessions.live_state(principal)
        return replace(principal, roles=state.roles, permissions=self.catalogue.permissions_of(state.roles))

    def still_valid(self, state: Attribution) -> bool:
        """Tell whether an open connection may stay open: credential in time, session not ended, roles unchanged.

        Asks no store.
        """
        known = state.credential
        if not isinstance(known, Authenticated):
            return not state.principal.is_authenticated
        if isinstance(known, KeyCredential):
            return self.api_keys is not None and self.api_keys.strategy.still_valid(known)
        return self.bearer.fault_of(known) is None

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


def _origin_of_url(url: str | None) -> bytes | None:
    """Return the origin of an address: what stands before its path."""
    return None if url is None else b"/".join(url.encode("ascii").split(b"/", 3)[:3])


def _signing_keys(secrets: Iterable[SecretStr]) -> list[SigningKey]:
    """Make the keys of secrets, the one that signs first; a secret that is named twice counts once."""
    return [SigningKey.from_secret(text) for text in dict.fromkeys(secret.get_secret_value() for secret in secrets)]
