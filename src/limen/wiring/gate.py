"""Limen: the one object that an application holds. It puts settings, store, features, strategies and guard together."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Self

from limen.authn.external import ExternalIssuer
from limen.authn.own_strategy import OwnStrategy
from limen.authz.attributes import AttributeLoader
from limen.authz.explaining import PolicyResources, ResourceLoader
from limen.authz.roles import RoleCatalogue
from limen.core.clock import Clock, system_clock
from limen.core.mails import MailTransport
from limen.core.principal import Principal
from limen.features.accounts.existing import ExistingAccounts
from limen.features.approvals.service import ApprovalService, ApprovalView, ByPolicy
from limen.features.sso.providers import SSOProvider
from limen.settings import Settings
from limen.storage import ApplicationConnection
from limen.web.deciding import PolicyContext
from limen.wiring.elsewhere import Elsewhere
from limen.wiring.protecting import ProtectingGate

if TYPE_CHECKING:
    # Names only: what compiles policies is loaded by those who have some.
    from limen.authz.policy.rules import PolicySet, Rule


class Limen(Elsewhere, ProtectingGate):
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
        mail: what hands mails over, in the place of a mail server.
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
        mail: MailTransport | None = None,
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
            mail=mail,
            clock=clock,
        )
        self._prepare_approvals()
        self._prepare_running(default_roles, separation_of_duty)
        if roles is not None:
            self._load_declared()
        if settings.traces:
            from limen.wiring.telemetry import trace_if_wanted

            trace_if_wanted(self)

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
        mail: MailTransport | None = None,
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
            mail: what hands mails over, in the place of a mail server.
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
            mail=mail,
            clock=clock,
        )

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

    def _prepare_approvals(self) -> None:
        self.approvals = ApprovalService(
            self.storage.approvals,
            roles=self.roles,
            live=self._live_subject,
            catalogue=lambda: self.catalogue,
            using=self.storage.using,
            borrowed=self.storage.borrowed,
            savepoint=self.storage.savepoint,
            record=self.sessions.record,
        )
        self.approvals.use_policy(ByPolicy(self._approvable))

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
