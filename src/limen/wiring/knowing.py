"""Who is calling, as a gate finds it out: at first by memory, and by the database where a route asks for it."""

from collections.abc import Awaitable, MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from limen.authn.api_key import KeyCredential, is_by_key
from limen.authn.client_certificate import CertificateCredential, is_by_certificate_alone
from limen.authn.external_tokens import ExternalCredential
from limen.authn.message import is_by_message
from limen.authn.strategy import Attribution, Authenticated
from limen.authz.explaining import PolicyResources
from limen.core.errors import PolicyDenied
from limen.core.held import given
from limen.core.principal import Principal
from limen.web.deciding import DecidingGate
from limen.wiring.explaining import explain_account
from limen.wiring.parts import Parts

if TYPE_CHECKING:
    # Names only: whoever has no policies does not wait for what compiles them.
    from limen.authz.compilers.explain import Explanation


class KnowingGate(DecidingGate, Parts):
    """The part of a gate that knows who is calling, whether that still holds, and why they may do something."""

    _policy_resources: PolicyResources

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
