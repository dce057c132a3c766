"""The account behind an identity: found, made where that is declared, and given the roles of its provider's rule."""

import json
import logging
from collections.abc import Callable
from hashlib import sha256

from limen.core.errors import AccountNotActive, Conflict, SsoAccountMissing, SsoLinkRequired
from limen.core.events import Event, EventName, EventSink, Origin, Outcome
from limen.core.ids import uuid7
from limen.crypto.encoding import b64url_encode
from limen.features.accounts.service import AccountService
from limen.features.roles.service import Operator, RoleService
from limen.features.sso.client import Assertion
from limen.features.sso.providers import SSOProvider
from limen.features.sso.rules import roles_wanted, without_separated
from limen.features.sso.store import Created, KnownAccount, NewPerson, SsoStore

_log = logging.getLogger(__name__)


class IdentityAccounts:
    """Knows which account an identity has.

    Args:
        store: what is kept of single sign-on.
        accounts, roles: the other features.
        known_roles: answers the names of the roles there are.
        record: writes the event of roles that could not be given.
    """

    def __init__(
        self,
        store: SsoStore,
        *,
        accounts: AccountService,
        roles: RoleService,
        known_roles: Callable[[], frozenset[str]],
        record: EventSink,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._roles = roles
        self._known_roles = known_roles
        self._record = record

    async def account_of(self, provider: SSOProvider, assertion: Assertion, origin: Origin) -> KnownAccount:
        """Return the account of an identity, with the roles that its provider's rule gives it now.

        Raises:
            SsoLinkRequired, SsoAccountMissing: nobody has it, and no account is made.
            AccountNotActive: the account must not be used.
        """
        known = await self._store.find(assertion.identity)
        if known is None:
            await self._create(provider, assertion, origin)
            known = await self._store.find(assertion.identity)
        if known is None or not known.is_active:
            raise AccountNotActive()
        await self._assign(provider, assertion, known, origin)
        return known

    async def _create(self, provider: SSOProvider, assertion: Assertion, origin: Origin) -> None:
        """Make an account for somebody unknown, where that is declared.

        Raises:
            SsoLinkRequired: an account has the address; it is not handed to whoever comes with it.
            SsoAccountMissing: none is made here.
        """
        believed = provider.trusted_email and assertion.email_verified and assertion.email is not None
        email = self._accounts.address(assertion.email or "") if believed else None
        if email is not None and await self._store.is_known_email(email):
            raise SsoLinkRequired()
        if not provider.create:
            raise SsoAccountMissing()
        wanted = assertion.claims.get(provider.username_claim) if provider.username_claim else None
        name = await self._accounts.free_name(wanted) if isinstance(wanted, str) else None
        identity, account_id = assertion.identity, uuid7()
        event = Event(
            EventName.ACCOUNT_CREATED,
            actor=account_id,
            target=account_id,
            origin=origin,
            data={"roles": [], "provider": provider.name},
        )
        made = _made_name(provider, assertion)
        for username in filter(None, (name, made, f"{made}-{account_id[-8:]}")):
            person = NewPerson(account_id, username, email)
            done = await self._store.create(person, identity, provider=provider.name, event=event)
            # Of several first logins at once one has made it, and all of them find it.
            if done is not Created.NAME_TAKEN or await self._store.find(identity) is not None:
                return
        raise Conflict("The account could not be named.")

    async def _assign(self, provider: SSOProvider, assertion: Assertion, known: KnownAccount, origin: Origin) -> None:
        """Have the account hold those of the provider's roles that its rule gives now, and leave all others alone."""
        managed = provider.managed_roles
        if not managed:
            return
        wanted = roles_wanted(provider, assertion.claims)
        there = self._known_roles()
        if not managed <= there:
            extra = {"provider": provider.name, "roles": sorted(managed - there)}
            _log.error("a rule of single sign-on names roles that are not there", extra=extra)
        actor = Operator(f"sso:{provider.name}")
        allowed = without_separated(wanted & there, known.roles - managed, there)
        if allowed != wanted & there:
            data = {"reason": "separation_of_duty", "roles": sorted((wanted & there) - allowed)}
            await self._record(Event(EventName.ROLES_ASSIGNED, Outcome.FAILURE, actor.name, known.id, origin, data))
        wanted = allowed
        grant = wanted - known.roles
        revoke = (managed & known.roles) - wanted
        if revoke:
            try:
                await self._roles.revoke(actor, known.id, revoke, origin=origin)
            except Conflict:
                # The last administrator stays one: nobody could put it right afterwards.
                extra = {"provider": provider.name, "account": known.id}
                _log.warning("roles were not revoked: no administrator would be left", extra=extra)
        if grant:
            await self._roles.grant(actor, known.id, grant, origin=origin)


def _made_name(provider: SSOProvider, assertion: Assertion) -> str:
    """Return a name that nobody chose, always the same for an identity."""
    identity = assertion.identity
    digest = sha256(json.dumps([identity.issuer, identity.subject]).encode()).digest()
    return f"{provider.name}-{b64url_encode(digest[:15]).decode('ascii').lower()}"
