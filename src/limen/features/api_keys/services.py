"""Accounts of services: no password, no login, no session; only API keys."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from limen.authz.administration import Administration
from limen.authz.authority import Authority, judged
from limen.core.errors import NotFound
from limen.core.events import NOWHERE, Event, EventName, EventSink, Origin
from limen.features.accounts.service import AccountPage, AccountService, AccountView
from limen.features.roles.service import Actor, Operator, RoleService

T = TypeVar("T")

KIND: Final = "service"


class ServiceAccounts:
    """The use cases of services' accounts. Each takes ``services:write``, and everything that the account may do.

    Args:
        accounts: makes and finds them.
        roles: judges who may act on whom.
        record: writes the event of a refusal.
    """

    def __init__(self, accounts: AccountService, roles: RoleService, *, record: EventSink) -> None:
        self._accounts = accounts
        self._roles = roles
        self._record = record

    async def create(
        self, actor: Actor, name: str, *, roles: frozenset[str] = frozenset(), origin: Origin = NOWHERE
    ) -> AccountView:
        """Make the account of a service and return it.

        Raises:
            InvalidInput: the name or a role is not acceptable.
            UsernameTaken: an account has the name.
            PermissionRequired: ``services:write`` is not held, or ``roles:assign`` and what the roles give.
        """

        async def attempt(authority: Authority | None) -> AccountView:
            return await self._accounts.create(
                name, None, roles=roles, actor=_name_of(actor), origin=origin, authority=authority, kind=KIND
            )

        refused = Event(EventName.ACCOUNT_CREATED, actor=_name_of(actor), origin=origin, data={"roles": sorted(roles)})
        return await self._judged(actor, attempt, refused, granting=roles)

    async def page(self, *, limit: int = 50, after: str | None = None) -> AccountPage:
        """List them by name: at most ``limit`` (1 to 200) after the one named ``after``."""
        return await self._accounts.page(limit=limit, after=after, kind=KIND)

    async def by_id(self, account_id: str) -> AccountView:
        """Find one by its id.

        Raises:
            NotFound: there is no such account, or it is a person's.
        """
        account = await self._accounts.by_id(account_id)
        if account.kind != KIND:
            raise NotFound("There is no such service.")
        return account

    async def disable(self, actor: Actor, account_id: str, *, origin: Origin = NOWHERE) -> None:
        """Switch it off: within two seconds none of its keys opens anything, anywhere.

        Raises:
            NotFound: there is no such service.
            PermissionRequired: who acts does not hold what it holds.
            Conflict: it is in another state.
        """

        async def attempt(authority: Authority | None) -> None:
            account = await self.by_id(account_id)
            await self._accounts.disable(account, actor=_name_of(actor), origin=origin, authority=authority)

        refused = Event(EventName.ACCOUNT_DISABLED, actor=_name_of(actor), target=account_id[:128], origin=origin)
        await self._judged(actor, attempt, refused, over=account_id)

    async def enable(self, actor: Actor, account_id: str, *, origin: Origin = NOWHERE) -> None:
        """Switch it on again; its keys open again what they opened before. See `disable`."""

        async def attempt(authority: Authority | None) -> None:
            account = await self.by_id(account_id)
            await self._accounts.enable(account, actor=_name_of(actor), origin=origin, authority=authority)

        refused = Event(EventName.ACCOUNT_ENABLED, actor=_name_of(actor), target=account_id[:128], origin=origin)
        await self._judged(actor, attempt, refused, over=account_id)

    async def _judged(
        self,
        actor: Actor,
        attempt: Callable[[Authority | None], Awaitable[T]],
        refused: Event,
        *,
        over: str | None = None,
        granting: frozenset[str] = frozenset(),
    ) -> T:
        async def judge() -> Authority | None:
            return await self._roles.authority(actor, Administration.SERVICES_WRITE, over=over, granting=granting)

        return await judged(judge, attempt, record=self._record, refused=refused)


def _name_of(actor: Actor) -> str:
    return actor.name if isinstance(actor, Operator) else actor.sub
