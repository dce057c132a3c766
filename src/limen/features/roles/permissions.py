"""Permissions of single accounts, beside those that their roles give: granted, for good or for a time, and revoked.

The rules are those of roles: nobody grants more than they hold, or for longer than they hold it, and nobody grants to
themselves.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from limen.authz.administration import Administration
from limen.authz.permissions import is_permission_name
from limen.core.errors import Conflict, InputFault, InvalidInput, NotFound, OwnRequest
from limen.core.events import NOWHERE, Event, EventName, EventSink, Origin
from limen.core.held import DIRECT
from limen.core.ids import is_uuid7
from limen.crypto.claims import MAX_PERMISSIONS, size_of_permissions
from limen.features.roles.judgement import Actor, Judgement, name_of
from limen.features.roles.judging import Judge, end_of
from limen.features.roles.store import Change, Holder, RoleStore

MOST: Final = 1_000
"""Permissions that one account may have beside its roles."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What an account holds; each with when it ends, in seconds since 1970 UTC, or None where it does not by itself."""

    roles: Mapping[str, int | None]
    permissions: Mapping[str, int | None]


class PermissionService(Judge):
    """The use cases of permissions that are granted to single accounts.

    Args:
        store: where they are.
        record: writes the event of a refusal.
        roles_changed: called after a change, so that this process knows at once.
        keep_ended_ms: how long a changed account stays listed: an access token's life and a margin.
        in_tokens: access tokens state them, which is to be little then.
    """

    def __init__(
        self,
        store: RoleStore,
        *,
        record: EventSink,
        roles_changed: Callable[[], Awaitable[None]],
        keep_ended_ms: int,
        in_tokens: bool,
    ) -> None:
        super().__init__(store, record=record, roles_changed=roles_changed, keep_ended_ms=keep_ended_ms)
        self._in_tokens = in_tokens

    async def of_account(self, account_id: str) -> Grants:
        """Return what an account holds, each with its end.

        Raises:
            NotFound: there is no such account.
        """
        snapshot = await self._store.read([account_id]) if is_uuid7(account_id) else None
        holder = None if snapshot is None else snapshot.holders.get(account_id)
        if holder is None or holder.status == "deleted":
            raise _no_such_account()
        return _grants_of(holder)

    async def grant(
        self,
        actor: Actor,
        account_id: str,
        permissions: Collection[str],
        *,
        until: int | None = None,
        lifetime: int | None = None,
        origin: Origin = NOWHERE,
    ) -> Grants:
        """Grant permissions to an account, and return what it holds then. What it held already ends as is said now.

        The access tokens it has are refused from then on (``token_stale``), in this process at once and in others
        within two seconds; a refresh answers one with what is held then.

        Args:
            actor: who does it; it takes ``roles:assign`` and the permissions themselves, for as long as they are
                granted, and nobody grants to themselves.
            account_id: to whom.
            permissions: as ``resource:action``.
            until: when the grant ends, in seconds since 1970 UTC; or
            lifetime: after how many seconds. Neither: not by itself.
            origin: where the request came from.

        Raises:
            InvalidInput: no name of a permission, or an end that is past.
            NotFound: there is no such account.
            OwnRequest: it is one's own.
            PermissionRequired: who acts does not hold that, or not for so long.
            Conflict: they are more than fit into an access token, where it states them.
        """
        named = _names(permissions)

        def wanted(held: Holder, end: int | None) -> tuple[frozenset[str], frozenset[str]]:
            return frozenset(n for n in named if n not in held.permissions or held.until.get(DIRECT + n) != end), _NONE

        event = Event(EventName.PERMISSIONS_GRANTED, actor=name_of(actor), target=account_id[:128], origin=origin)
        return await self._change(actor, account_id, named, wanted, event, until=until, lifetime=lifetime)

    async def revoke(
        self, actor: Actor, account_id: str, permissions: Collection[str], *, origin: Origin = NOWHERE
    ) -> Grants:
        """Revoke permissions that were granted to an account, and return what it holds then; see `grant`."""
        named = _names(permissions)

        def wanted(held: Holder, _end: int | None) -> tuple[frozenset[str], frozenset[str]]:
            return _NONE, named & held.permissions

        event = Event(EventName.PERMISSIONS_REVOKED, actor=name_of(actor), target=account_id[:128], origin=origin)
        return await self._change(actor, account_id, named, wanted, event)

    async def _change(
        self,
        actor: Actor,
        account_id: str,
        named: frozenset[str],
        wanted: Callable[[Holder, int | None], tuple[frozenset[str], frozenset[str]]],
        event: Event,
        *,
        until: int | None = None,
        lifetime: int | None = None,
    ) -> Grants:
        if not is_uuid7(account_id):
            raise _no_such_account()
        after: Holder | None = None

        async def attempt(judged: Judgement) -> Change:
            nonlocal after
            judged.require(Administration.ROLES_ASSIGN)
            target = judged.snapshot.holders.get(account_id)
            if target is None or target.status == "deleted":
                raise _no_such_account()
            end = end_of(judged.snapshot.now, until, lifetime)
            grant, revoke = wanted(target, end)
            after = _after(target, grant, revoke, end)
            if not grant and not revoke:
                return Change.DONE
            if judged.seen.actor is not None and judged.seen.actor.id == target.id:
                raise OwnRequest("Nobody changes their own permissions.")
            judged.require_passable(grant | revoke)
            judged.require_lasting(grant, end)
            if grant:
                self._require_small(after.permissions)
            return await self._store.assign(
                target,
                grant={DIRECT + name for name in grant},
                revoke={DIRECT + name for name in revoke},
                seen=judged.seen,
                event=replace(event, data=_told(grant | revoke, after.permissions, end)),
                keep_ended_ms=self._keep_ended_ms,
                until=end,
            )

        await self._judged(actor, attempt, replace(event, data={"permissions": sorted(named)}), account_id)
        if after is None:
            raise _no_such_account()
        return _grants_of(after)

    def _require_small(self, permissions: frozenset[str]) -> None:
        if len(permissions) > MOST:
            raise Conflict(f"An account has at most {MOST} permissions of its own: make a role of them.")
        size = size_of_permissions(permissions)
        if self._in_tokens and size > MAX_PERMISSIONS:
            raise Conflict(
                f"These permissions would take {size} bytes of each access token, where {MAX_PERMISSIONS} are the most:"
                " make a role of them, or set LIMEN_PERMISSIONS=database."
            )


_NONE: Final[frozenset[str]] = frozenset()


def _names(permissions: Collection[str]) -> frozenset[str]:
    for name in permissions:
        if not is_permission_name(name):
            message = "A permission is resource:action, such as order:approve."
            raise InvalidInput(message, errors=[InputFault(("path", "permission"), "invalid_value", message)])
    return frozenset(map(str, permissions))


def _after(target: Holder, grant: frozenset[str], revoke: frozenset[str], end: int | None) -> Holder:
    changed = {DIRECT + name for name in grant | revoke}
    until = {name: each for name, each in target.until.items() if name not in changed}
    if end is not None:
        until.update((DIRECT + name, end) for name in grant)
    return replace(target, permissions=(target.permissions | grant) - revoke, until=until)


def _told(changed: frozenset[str], permissions: frozenset[str], end: int | None) -> dict[str, object]:
    told: dict[str, object] = {"changed": sorted(changed), "permissions": len(permissions)}
    return told if end is None else {**told, "until": end // 1000}


def _grants_of(holder: Holder) -> Grants:
    def end(name: str) -> int | None:
        return holder.until[name] // 1000 if name in holder.until else None

    return Grants(
        {name: end(name) for name in sorted(holder.roles)},
        {name: end(DIRECT + name) for name in sorted(holder.permissions)},
    )


def _no_such_account() -> NotFound:
    return NotFound("There is no such account.")
