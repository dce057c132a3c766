"""What a gate is made of."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from limen.authn.bearer import BearerStrategy
from limen.authn.chain import AuthenticationChain
from limen.authn.changed_roles import ChangedRoles
from limen.authn.client_certificate import thumbprints, tls_certificate
from limen.authn.cookie import CookieStrategy, CookieTerms
from limen.authn.ended import EndedSessions
from limen.authn.external import ExternalIssuer
from limen.authn.external_tokens import ExternalTokens
from limen.authn.outbound import Outbound
from limen.authn.own_strategy import OwnStrategy, adapters_of
from limen.authn.strategy import Authenticated
from limen.authz.permissions import permission_name
from limen.authz.roles import RoleCatalogue
from limen.core.clock import Clock
from limen.core.mails import MailTransport
from limen.core.principal import Principal
from limen.core.rates import Rate
from limen.crypto.claims_cache import ClaimsCache
from limen.crypto.hashing_pool import HashingPool
from limen.crypto.keys import KeySet, SigningKey, hkdf_sha256
from limen.crypto.passwords import PasswordHasher
from limen.features.accounts.administration import AccountAdministration
from limen.features.accounts.erasing import ErasureService
from limen.features.accounts.existing import ExistingAccounts, TakingOver
from limen.features.accounts.importing import ImportService
from limen.features.accounts.password_policy import host_words
from limen.features.accounts.service import AccountService
from limen.features.api_keys.building import KeySettings, build_api_keys
from limen.features.approvals.service import cancel_all
from limen.features.audit.building import build_audit, build_sinks
from limen.features.client_certificates.building import build_client_certificates
from limen.features.events.service import EventService
from limen.features.forwarding.service import ForwardingService
from limen.features.login.cookies import CookieLogin
from limen.features.login.service import LoginService
from limen.features.mail.building import build_mail
from limen.features.maintenance.service import MaintenanceService
from limen.features.maintenance.watch import RollbackWatch
from limen.features.messages.building import Verifying, build_messages
from limen.features.personal_data.service import PersonalDataService
from limen.features.recovery.building import build_recovery
from limen.features.roles.permissions import PermissionService
from limen.features.roles.service import RoleService
from limen.features.roles.watch import RoleWatch
from limen.features.sessions.feed import EndedFeed
from limen.features.sessions.service import SessionService
from limen.features.sso.building import SsoSettings, build_sso
from limen.features.sso.providers import SSOProvider, providers_of
from limen.features.throttling.building import ThrottleSettings, build_throttling
from limen.settings import Settings
from limen.storage import Storage, open_storage
from limen.wiring.certificates import certificates_of
from limen.wiring.tokens import (
    CLOCK_AHEAD,
    CLOCK_LEEWAY,
    access_keys_of,
    access_verifier,
    deriving_texts,
    door_of,
    refresh_keys_of,
    refresh_verifier,
    signing_keys_of,
    texts_of,
)
from limen.wiring.web_parts import WebParts

KEEP_ENDED_MARGIN = 60
"""Seconds an ended session stays listed beyond the life of its last access token: the clocks of verifiers differ."""


class Parts(WebParts):
    """Everything that a gate holds, put together once: settings, store, features, strategies.

    Nothing is opened here, and nothing waits: that begins with the gate's start.

    Args:
        settings: what it was told.
        roles: the roles that the application declares, if it declares any.
        existing_accounts: an existing table of users, asked for names that limen does not know.
        sso: the providers of single sign-on that the application declares.
        issuers: others whose access tokens count.
        strategies: ways of the application's own to say who is calling.
        mail: what hands mails over, in the place of LIMEN_SMTP_URL.
        clock: the time in seconds since 1970 UTC.

    Raises:
        ConfigurationError: a setting or a role is unsafe or unusable.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        roles: Mapping[str, Iterable[str]] | None,
        existing_accounts: ExistingAccounts | None,
        issuers: Sequence[ExternalIssuer] = (),
        sso: Sequence[SSOProvider] = (),
        strategies: Sequence[OwnStrategy] = (),
        mail: MailTransport | None = None,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self._mail_transport = mail
        self._strategies = tuple(strategies)
        self.catalogue = RoleCatalogue({} if roles is None else roles)
        self._code_roles = None if roles is None else self.catalogue
        self._existing_accounts = existing_accounts
        self._issuers = tuple(issuers)
        self._providers = providers_of(sso, settings.sso_clients)
        self._clock = clock
        self.storage: Storage = open_storage(
            settings.database_url,
            clock=clock,
            pool_size=settings.database_pool,
            valkey_url=settings.valkey_url,
        )
        self.outbound = Outbound(allow_private=settings.outbound_allow)
        self.ended = EndedSessions()
        self.changed = ChangedRoles()
        self._seen: ClaimsCache[Authenticated] = ClaimsCache()
        self._pool = HashingPool()
        self._certificates = certificates_of(settings, lambda: self.proxies, clock)
        self._thumbprint_of = thumbprints(self._certificates.source or tls_certificate, clock)
        self._build(settings)

    def _build(self, settings: Settings) -> None:
        self._cookie_terms = CookieTerms(
            idle=settings.cookie_idle_ttl,
            most=settings.cookie_max_ttl,
            remembered_idle=settings.remembered_idle_ttl,
            remembered_most=settings.remembered_max_ttl,
        )
        self._keep_ended_ms = (settings.access_ttl + KEEP_ENDED_MARGIN) * 1000
        access_keys = access_keys_of(settings)
        self._build_throttling(settings)
        self._build_sessions(settings, access_keys)
        self._build_accounts(settings, self._keep_ended_ms)
        self._build_roles(settings)
        self._build_trail(settings)
        self._build_administration()
        self._build_recovery(settings)
        self.forwarding = ForwardingService(self.door, clock=self._clock)
        self.signing_keys = signing_keys_of(
            settings, self.storage.signing_keys, use=self._use_keys, keep_ms=self._keep_ended_ms, clock=self._clock
        )
        self.external = self._external(settings)
        self.bearer = self._bearer(settings, access_keys)
        self._build_messages(settings)
        self._build_browsers(settings)
        self._build_machines(settings)
        self._build_chain()

    def _build_throttling(self, settings: Settings) -> None:
        self.throttling = build_throttling(
            ThrottleSettings(
                settings.throttle,
                deriving_texts(settings),
                Rate.of(settings.login_limit),
                Rate.of(settings.login_network_limit),
                Rate.of(settings.register_limit),
            ),
            self.storage.throttles,
            clock=self._clock,
        )
        self.throttle = self.throttling.throttle

    def _build_sessions(self, settings: Settings, access_keys: Sequence[SigningKey]) -> None:
        refresh_keys = refresh_keys_of(settings)
        self.door = door_of(
            settings,
            self.storage.issuing,
            access_key=access_keys[0] if access_keys else None,
            refresh_keys=refresh_keys,
            cookie_terms=self._cookie_terms,
            told_roles=self.changed.correct,
            keep_ended_ms=self._keep_ended_ms,
        )
        self.sessions = SessionService(
            self.storage.sessions,
            self.door,
            verifier=refresh_verifier(settings, refresh_keys.key_set, self._clock),
            ended=self.ended,
            leeway=settings.refresh_leeway,
            keep_ended_ms=self._keep_ended_ms,
            clock=self._clock,
        )
        self.ended_feed = EndedFeed(self.storage.sessions)

    def _build_roles(self, settings: Settings) -> None:
        self._role_watch = RoleWatch(self.storage.roles, self.changed, self._use)
        self.roles = RoleService(
            self.storage.roles,
            record=self.sessions.record,
            roles_changed=self._role_watch.catch_up,
            keep_ended_ms=self._keep_ended_ms,
        )
        self.permissions = PermissionService(
            self.storage.roles,
            record=self.sessions.record,
            roles_changed=self._role_watch.catch_up,
            keep_ended_ms=self._keep_ended_ms,
            in_tokens=settings.permissions == "token",
        )

    def _build_administration(self) -> None:
        """Make what is done to accounts by others, and to the installation as a whole."""
        self.maintenance = MaintenanceService(
            self.storage.maintenance,
            record=self.sessions.record,
            keep_ended_ms=self._keep_ended_ms,
            cancel_requests=partial(cancel_all, self.storage.approvals),
        )
        self._watch = RollbackWatch(self.storage.maintenance, record=self.sessions.record)
        self.administration = AccountAdministration(
            self.accounts,
            self.storage.accounts,
            sessions=self.sessions,
            roles=self.roles,
            record=self.sessions.record,
            keep_ended_ms=self._keep_ended_ms,
            roles_changed=self._role_watch.catch_up,
            throttle=self.throttling.logins,
        )
        self.imports = ImportService(self.storage.imports, roles=self.roles, record=self.sessions.record)
        self.personal_data = PersonalDataService(
            self.storage.personal_data, self.events, record=self.sessions.record, clock=self._clock
        )
        self.erasures = ErasureService(
            self.storage.erasures, erase=lambda account_id, actor: self.audit.erase_details(account_id, actor=actor)
        )

    def _build_trail(self, settings: Settings) -> None:
        self.events = EventService(self.storage.trail)
        self.audit = build_audit(
            self.storage.audit,
            self.storage.sinks,
            texts_of(settings.data_secrets),
            settings.audit_key_files,
        )
        self.sinks = build_sinks(
            settings.audit_sinks,
            texts_of(settings.audit_sink_secrets),
            audit=self.audit,
            trail=self.storage.audit,
            states=self.storage.sinks,
            outbound=self.outbound,
            clock=self._clock,
        )

    def _build_recovery(self, settings: Settings) -> None:
        self.mail = build_mail(
            self.storage.mails,
            transport=self._mail_transport,
            smtp_url=None if settings.smtp_url is None else settings.smtp_url.get_secret_value(),
            sender=settings.mail_from,
            templates=settings.mail_templates,
            public_url=settings.public_url,
            clock=self._clock,
        )
        self.recovery = build_recovery(
            self.storage.recovery,
            self.mail,
            secrets=texts_of(settings.data_secrets),
            public_url=settings.public_url,
            accounts=self.accounts,
            roles=self.roles,
            keep_ended_ms=self._keep_ended_ms,
            record=self.sessions.record,
            sessions_ended=self.sessions.catch_up,
            throttle=self.throttling.logins,
        )
        if self.recovery is not None:
            self.sessions.use_mail(self.recovery)

    def _build_messages(self, settings: Settings) -> None:
        self.messages = build_messages(
            Verifying(
                self.bearer.keys,
                settings.issuer,
                CLOCK_LEEWAY,
                CLOCK_AHEAD,
                None if self.signing_keys is None else self.signing_keys.learn,
            ),
            self.storage.messages,
            self.door,
            accounts=self.accounts,
            sessions=self.sessions,
            ended=self.ended,
            changed=self.changed,
            permissions_of=self._permissions_of,
            known_roles=self._role_names,
            clock=self._clock,
        )

    def _build_browsers(self, settings: Settings) -> None:
        """Make the ways of people with a browser: cookies, and logins at a provider."""
        self.cookies = CookieStrategy(
            self.storage.cookies,
            self.ended,
            terms=self._cookie_terms,
            proof=self._cookie_fault,
            permissions_of=self._permissions_of,
            known_roles=self._role_names,
            https_only=(settings.public_url or "").startswith("https:"),
        )
        self.cookie_login = CookieLogin(self.login, self.door, self.sessions, self.cookies)
        self.sso = build_sso(
            SsoSettings(
                texts_of(settings.data_secrets),
                settings.public_url or "",
                frozenset(settings.sso_redirects),
                settings.audience,
                self._keep_ended_ms,
            ),
            self._providers,
            self.storage.sso,
            outbound=self.outbound,
            door=self.door,
            accounts=self.accounts,
            roles=self.roles,
            sessions=self.sessions,
            cookies=self.cookies,
            known_roles=self._role_names,
            clock=self._clock,
        )

    def _build_machines(self, settings: Settings) -> None:
        """Make the ways of programs: API keys and client certificates."""
        self.api_keys = build_api_keys(
            KeySettings(
                texts_of(settings.data_secrets),
                settings.api_key_environment,
                settings.api_key_ttl,
                settings.api_key_max_ttl,
                self._keep_ended_ms,
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
        self.client_certificates = build_client_certificates(
            self.storage.client_certificates,
            self._certificates.source,
            self.door,
            ended=self.ended,
            accounts=self.accounts,
            sessions=self.sessions,
            roles=self.roles,
            permissions_of=self._permissions_of,
            known_roles=self._role_names,
            clock=self._clock,
            keep_ended_ms=self._keep_ended_ms,
        )

    def _build_chain(self) -> None:
        # The certificate is there on every request of a connection, so it is looked at first, and decides last.
        certificates = [] if self.client_certificates.strategy is None else [self.client_certificates.strategy]
        external = [] if self.external is None else [self.external]
        keys = [] if self.api_keys is None else [self.api_keys.strategy]
        self.own_strategies = adapters_of(
            self._strategies,
            self.ended,
            permissions_of=self._permissions_of,
            known_roles=self._role_names,
            clock=self._clock,
            thumbprint_of=self._thumbprint_of,
        )
        # The strategy of certificates does it itself, but whoever is asked before it must not read forged headers.
        self._strip_first = self._certificates.strip if self.own_strategies else None
        self.chain = AuthenticationChain(
            [*self.own_strategies, *certificates, self.bearer, *external, self.cookies, *keys],
            thumbprint_of=self._thumbprint_of,
        )

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
            throttle=self.throttling.logins,
        )

    def _taking_over(self) -> TakingOver | None:
        if self._existing_accounts is None:
            return None
        return TakingOver(self._existing_accounts, self.storage.accounts, known_roles=self._role_names)

    def _use_keys(self, signing: SigningKey | None, keys: KeySet) -> None:
        """Verify with these keys from now on, and only then sign with one of them."""
        self.bearer.use_keys(keys)
        self.messages.use_keys(keys)
        self.door.use_access_key(signing)

    def _bearer(self, settings: Settings, access_keys: list[SigningKey]) -> BearerStrategy:
        return BearerStrategy(
            access_verifier(settings, KeySet(access_keys) if access_keys else KeySet.empty(), self._clock),
            self._seen,
            self.ended,
            changed=self.changed,
            permissions_of=self._permissions_of,
            known_roles=self._role_names,
            clock=self._clock,
            learn=None if self.signing_keys is None else self.signing_keys.learn,
            thumbprint_of=self._thumbprint_of,
            is_foreign=None if self.external is None else self.external.is_foreign,
            held_now=self._held_now,
        )

    def _external(self, settings: Settings) -> ExternalTokens | None:
        if not self._issuers:
            return None
        for rule in (rule for issuer in self._issuers for rule in issuer.rules):
            for name in rule.permissions:
                permission_name(name)
        return ExternalTokens(
            self._issuers,
            self.outbound,
            self._seen,
            own_issuer=settings.issuer,
            permissions_of=self._permissions_of,
            known_roles=self._role_names,
            clock=self._clock,
        )

    def _use(self, catalogue: RoleCatalogue) -> None:
        """Go by other roles from now on; what was remembered of tokens has the permissions of those before."""
        self.catalogue = catalogue
        self._seen.clear()
        if self.api_keys is not None:
            self.api_keys.strategy.forget()
        if self.client_certificates.strategy is not None:
            self.client_certificates.strategy.forget()

    async def _held_now(self, principal: Principal) -> frozenset[str]:
        return (await self.sessions.live_state(principal)).roles

    def _role_names(self) -> frozenset[str]:
        return self.catalogue.names

    def _permissions_of(self, roles: frozenset[str]) -> frozenset[str]:
        return self.catalogue.permissions_of(roles)
