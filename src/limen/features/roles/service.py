"""Roles: looked at, made, changed, deleted, granted and revoked.

Whoever changes something is judged by the database as it is at that moment, not by what a token said: nobody gives or
takes more than they hold, or may pass on by name; nobody changes their own roles or adds to their own permissions; and
an administrator always remains (ASVS 8.2.1).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from limen.authz.administration import Administration
from limen.authz.authority import Authority
from limen.authz.roles import is_role_name
from limen.core.errors import (
    Conflict,
    InputFault,
    InvalidInput,
    NotFound,
    OwnRequest,
)
from limen.core.events import NOWHERE, Event, EventName, Origin
from limen.core.ids import is_uuid7
from limen.core.pages import DEFAULT_PAGE, check_limit
from limen.features.roles.catalogue import definition_of, with_role
from limen.features.roles.judgement import OPERATOR, Actor, Judgement, Operator, name_of
from limen.features.roles.judging import Judge, end_of
from limen.features.roles.store import Change, Holder, RoleSource, Seen
from limen.features.roles.views import PermissionPage, PermissionView, RolePage, RoleView, view_of

__all__ = ["OPERATOR", "Actor", "Operator", "RoleService"]

_NOTHING: Final[frozenset[str]] = frozenset()

_Wanted: TypeAlias = tuple[frozenset[str], frozenset[str]]
"""What is to be granted, and what is to be revoked."""


class RoleService(Judge):
    """The use cases of roles; what it is made of, see `Judge`."""

    # --- reading

    async def page(self, *, limit: int = DEFAULT_PAGE, after: str | None = None) -> RolePage:
        """List roles by name: at most ``limit`` (1 to 200) after the one named ``after``.

        Raises:
            InvalidInput: the limit is out of range.
        """
        check_limit(limit)
        snapshot, catalogue = await self._read()
        names = sorted(name for name in snapshot.roles if name > (after or ""))
        items = [view_of(snapshot, catalogue, name) for name in names[:limit]]
        return RolePage(items, items[-1].name if len(names) > limit else None)

    async def names(self) -> frozenset[str]:
        """Return the names of the roles there are, which tell which of them count together."""
        _, catalogue = await self._read()
        return catalogue.names

    async def show(self, name: str) -> RoleView:
        """Find a role by its name.

        Raises:
            NotFound: there is none.
        """
        snapshot, catalogue = await self._read()
        if name not in snapshot.roles:
            raise _no_such_role()
        return view_of(snapshot, catalogue, name)

    async def permissions(self, *, limit: int = DEFAULT_PAGE, after: str | None = None) -> PermissionPage:
        """List every permission that a role gives, or that limen's administration asks for, and which roles give it.

        Raises:
            InvalidInput: the limit is out of range.
        """
        check_limit(limit)
        _, catalogue = await self._read()
        known = catalogue.permissions | frozenset(Administration)
        names = sorted(str(name) for name in known if name > (after or ""))
        gives = {name: catalogue.permissions_of(frozenset({name})) for name in sorted(catalogue.names)}
        items = [
            PermissionView(name, tuple(role for role, given in gives.items() if name in given))
            for name in names[:limit]
        ]
        return PermissionPage(items, items[-1].name if len(names) > limit else None)

    async def separation(self, *, limit: int) -> tuple[list[tuple[str, str]], Sequence[tuple[str, str, str]]]:
        """Return the pairs of roles that nobody may hold at once, and who holds both: username, role and other role."""
        snapshot, _ = await self._read()
        return sorted(snapshot.separated), await self._store.violations(limit)

    # --- changing what a role is

    async def put(
        self,
        actor: Actor,
        name: str,
        *,
        permissions: Sequence[str],
        extends: Sequence[str] = (),
        origin: Origin = NOWHERE,
        must_be_new: bool = False,
    ) -> bool:
        """Make or replace a role of the database; True where it is new. The same again changes nothing.

        Args:
            actor: who does it; it takes ``roles:write`` and every permission that the role gives, before and after.
            name: of the role.
            permissions: its own, as ``resource:action``.
            extends: the roles whose permissions it is to have as well.
            origin: where the request came from.
            must_be_new: refuse to replace one.

        Raises:
            InvalidInput: a name is malformed or unknown, or the role would extend itself.
            PermissionRequired: who acts does not hold what the role gives.
            Conflict: it is a role of the code, or there is one of this name and it must be new, or no administrator
                would be left, or somebody would hold two roles by it that nobody may hold at once.
        """
        definition = definition_of(name, permissions, extends)
        is_new = True

        async def attempt(judged: Judgement) -> Change:
            nonlocal is_new
            judged.require(Administration.ROLES_WRITE)
            present = judged.snapshot.roles.get(definition.name)
            is_new = present is None
            if present is not None and must_be_new:
                raise Conflict(f"There is a role {definition.name} already.")
            if present is not None and present.source is RoleSource.CODE:
                raise Conflict(f"The role {definition.name} is declared by the application; change it in its code.")
            if present is not None and present.definition == definition:
                return Change.DONE
            after = with_role(judged.snapshot, definition)
            gives = after.permissions_of(frozenset({definition.name}))
            judged.require_passable(judged.gives(definition.name) | gives)
            judged.require_lasting(gives, None)
            judged.refuse_own_gain(after)
            return await self._store.put(definition, seen=judged.seen, event=event(is_new=is_new))

        def event(*, is_new: bool) -> Event:
            data = {"permissions": sorted(definition.permissions), "extends": sorted(definition.extends)}
            named = EventName.ROLE_CREATED if is_new else EventName.ROLE_CHANGED
            return Event(named, actor=name_of(actor), target=definition.name, origin=origin, data=data)

        await self._judged(actor, attempt, event(is_new=False))
        return is_new

    async def delete(self, actor: Actor, name: str, *, origin: Origin = NOWHERE) -> None:
        """Delete a role of the database; it takes ``roles:write`` and every permission that the role gives.

        Raises:
            NotFound: there is none.
            PermissionRequired: who acts does not hold what the role gives.
            Conflict: it is a role of the code, an account holds it, or a role extends it.
        """
        if not is_role_name(name):
            raise _no_such_role()
        event = Event(EventName.ROLE_DELETED, actor=name_of(actor), target=name, origin=origin)

        async def attempt(judged: Judgement) -> Change:
            judged.require(Administration.ROLES_WRITE)
            if name not in judged.snapshot.roles:
                raise _no_such_role()
            judged.require_passable(judged.gives(name))
            return await self._store.delete(name, seen=judged.seen, event=event)

        await self._judged(actor, attempt, event)

    # --- changing who holds a role

    async def grant(
        self,
        actor: Actor,
        account_id: str,
        roles: Collection[str],
        *,
        until: int | None = None,
        lifetime: int | None = None,
        origin: Origin = NOWHERE,
    ) -> frozenset[str]:
        """Grant roles to an account, and return what it holds then; see `set_roles`.

        What it held already ends as is said now: at ``until`` (seconds since 1970 UTC), after ``lifetime`` seconds, or
        not by itself. Who acts must hold what is granted for as long.
        """
        named = frozenset(roles)

        def wanted(held: Holder, end: int | None) -> _Wanted:
            return frozenset(name for name in named if name not in held.roles or held.until.get(name) != end), _NOTHING

        return await self._assign(actor, account_id, named, wanted, origin, until=until, lifetime=lifetime)

    async def revoke(
        self, actor: Actor, account_id: str, roles: Collection[str], *, origin: Origin = NOWHERE
    ) -> frozenset[str]:
        """Revoke roles of an account, and return what it holds then; see `set_roles`.

        Also one that the code no longer declares, which would count again if it were declared again.
        """
        named = frozenset(roles)

        def wanted(held: Holder, _end: int | None) -> _Wanted:
            return _NOTHING, named & (held.roles | held.retired)

        return await self._assign(actor, account_id, named, wanted, origin, also_retired=True)

    async def set_roles(
        self, actor: Actor, account_id: str, roles: Collection[str], *, origin: Origin = NOWHERE
    ) -> frozenset[str]:
        """Make an account hold exactly these roles, and return them. What it holds already changes nothing.

        The access tokens it has are refused from then on (``token_stale``), in this process at once and in others
        within two seconds; a refresh answers one with the roles of now.

        Args:
            actor: who does it; it takes ``roles:assign`` and every permission of the roles that are granted or revoked,
                and nobody changes their own.
            account_id: whose roles.
            roles: their names.
            origin: where the request came from.

        Raises:
            InvalidInput: there is no such role.
            NotFound: there is no such account.
            OwnRequest: it is one's own.
            PermissionRequired: who acts does not hold what a role gives.
            Conflict: no administrator would be left, or the account would hold two roles that nobody may hold at once.
        """
        named = frozenset(roles)

        def wanted(held: Holder, _end: int | None) -> _Wanted:
            return named - held.roles, (held.roles - named) | held.retired

        return await self._assign(actor, account_id, named, wanted, origin)

    async def _assign(
        self,
        actor: Actor,
        account_id: str,
        named: frozenset[str],
        wanted: Callable[[Holder, int | None], _Wanted],
        origin: Origin,
        *,
        also_retired: bool = False,
        until: int | None = None,
        lifetime: int | None = None,
    ) -> frozenset[str]:
        if not is_uuid7(account_id):
            raise _no_such_account()
        event = Event(EventName.ROLES_ASSIGNED, actor=name_of(actor), target=account_id, origin=origin)
        roles: frozenset[str] = frozenset()

        async def attempt(judged: Judgement) -> Change:
            nonlocal roles
            judged.require(Administration.ROLES_ASSIGN)
            target = judged.snapshot.holders.get(account_id)
            if target is None or target.status == "deleted":
                raise _no_such_account()
            _require_known(named, judged.catalogue.names | (target.retired if also_retired else frozenset()))
            end = end_of(judged.snapshot.now, until, lifetime)
            grant, revoke = wanted(target, end)
            roles = (target.roles | grant) - revoke
            if not grant and not revoke:
                return Change.DONE
            if judged.seen.actor is not None and judged.seen.actor.id == target.id:
                raise OwnRequest("Nobody changes their own roles.")
            judged.require_passable(judged.permissions_in(grant | revoke))
            judged.require_lasting(judged.permissions_in(grant), end)
            data = {"granted": sorted(grant), "revoked": sorted(revoke), "roles": sorted(roles)}
            told = data if end is None else {**data, "until": end // 1000}
            return await self._store.assign(
                target,
                grant=grant,
                revoke=revoke,
                seen=judged.seen,
                event=replace(event, data=told),
                keep_ended_ms=self._keep_ended_ms,
                until=end,
            )

        await self._judged(actor, attempt, replace(event, data={"roles": sorted(named)}), account_id)
        return roles

    # --- acting on an account

    async def authority(
        self, actor: Actor, *needed: str, over: str | None = None, granting: Collection[str] = ()
    ) -> Authority | None:
        """Judge whether who acts may act on an account, or make one: nobody acts on whoever holds more than they do.

        Whoever could switch off, or change the address of, somebody stronger would take over by other ways.

        Args:
            actor: who acts.
            needed: permissions that it takes.
            over: the id of the account that is acted on.
            granting: roles that an account to be made is to hold; it takes ``roles:assign`` and what they give.

        Returns:
            What it was judged by, for the transaction of the act to ask again; None for the operator.

        Raises:
            NotFound: there is no such account.
            InvalidInput: there is no such role.
            PermissionRequired: who acts does not hold what is needed, or what the account or the roles give.
            AccountNotActive: who acts is not active any more.
        """
        if over is not None and not is_uuid7(over):
            raise NotFound("There is no such account.")
        judged = await self._judgement(actor, [over] if over is not None else [])
        judged.require(*needed)
        target = judged.snapshot.holders.get(over) if over is not None else None
        if over is not None and (target is None or target.status == "deleted"):
            raise NotFound("There is no such account.")
        if target is not None:
            judged.require_passable(judged.permissions_in(target.roles) | target.permissions)
        if granting:
            judged.require(Administration.ROLES_ASSIGN)
            _require_known(granting, judged.catalogue.names)
            judged.require_passable(judged.permissions_in(frozenset(granting)))
            judged.require_lasting(judged.permissions_in(frozenset(granting)), None)
        who = judged.seen.actor
        if who is None:
            return None
        return Authority(judged.snapshot.version, who.id, who.version, target.version if target is not None else None)

    # --- at the start

    async def seed(self, roles: Mapping[str, Collection[str]]) -> None:
        """Write roles into a database that has never had any; whoever deletes one of them later has deleted it."""
        snapshot = await self._store.read()
        version = snapshot.version
        if version or snapshot.roles:
            return
        for name, permissions in roles.items():
            event = Event(
                EventName.ROLE_CREATED, actor="system", target=name, data={"permissions": sorted(permissions)}
            )
            definition = definition_of(name, sorted(permissions), ())
            try:
                done = await self._store.put(definition, seen=Seen(version), event=event)
            except Conflict:
                return  # the name was an application's once, and accounts hold it still
            if done is Change.MOVED:
                return  # another process is at it
            version += 1


def _no_such_role() -> NotFound:
    return NotFound("There is no role of that name.")


def _no_such_account() -> NotFound:
    return NotFound("There is no such account.")


def _require_known(named: Collection[str], names: frozenset[str]) -> None:
    unknown = sorted(set(named) - names)
    if unknown:
        # Only what can be a name is repeated.
        told = ", ".join(name for name in unknown if is_role_name(name)) or "of that name"
        message = f"There is no role {told}."
        raise InvalidInput(message, errors=[InputFault(("body", "roles"), "unknown_role", message)])
