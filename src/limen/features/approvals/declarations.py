"""Which actions take others' yes, and who may say it."""

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeVar

from limen.authz.administration import Administration
from limen.authz.roles import RoleCatalogue
from limen.core.decision import Decision
from limen.core.errors import ConfigurationError, NotFound, OwnRequest, PolicyDenied
from limen.core.principal import Principal
from limen.features.approvals.actions import (
    Action,
    ApprovalView,
    ByPermission,
    Execute,
    Judge,
    SessionFactory,
    can_decide,
    judges_of,
)
from limen.features.approvals.store import Approvals, StoredApproval

_log = logging.getLogger(__name__)

_F = TypeVar("_F", bound=Execute)


class Declarations:
    """The actions that are declared, and what they say of who may decide.

    Args:
        store: where the requests are.
        catalogue: the roles there are.
    """

    def __init__(self, store: Approvals, catalogue: Callable[[], RoleCatalogue]) -> None:
        self._store = store
        self._catalogue = catalogue
        self._actions: dict[str, Action] = {}
        self._queued: dict[str, Action] = {}
        self._policy: Judge | None = None

    def action(
        self,
        name: str,
        *,
        session: SessionFactory | None = None,
        quorum: int = 1,
        expires_in: int = 86_400,
        permission: str | None = None,
        may_approve: Judge | None = None,
        timeout: float = 30.0,
        attempts: int = 8,
    ) -> Callable[[_F], _F]:
        """Declare an action that takes others' yes, above the async function that does it.

        With ``session=`` the function is called as ``execute(approved, session)`` in the transaction of the last yes:
        that yes, its event, and what the function writes are one commit. Without, it is called as
        ``execute(approved)`` from an outbox, at least once: ``approved.id`` tells whether it was done before.

        Args:
            name: ``resource:action``, such as ``payout:release``.
            session: opens an AsyncSession or AsyncConnection of SQLAlchemy to limen's own database, as for
                `Limen.using`: an ``async_sessionmaker``, or the ``begin`` of one or of an engine.
            quorum: how many have to say yes, 1 to 20.
            expires_in: seconds for which a request waits, 30 days at most.
            permission: who holds it may decide; ``<name>:approve`` where neither this nor ``may_approve`` is given.
            may_approve: is asked as well.
            timeout: seconds that one execution may take.
            attempts: how often the outbox tries.

        Raises:
            ConfigurationError: one of these is unusable, or the action is declared already.
        """

        def declare(execute: _F) -> _F:
            if name in self._actions:
                raise ConfigurationError(f"the action {name} is declared twice")
            judges = judges_of(name, permission, may_approve)
            declared = Action(name, execute, session, quorum, expires_in, judges, timeout, attempts)
            self._actions[name] = declared
            if session is None:
                self._queued[name] = declared
            return execute

        return declare

    def use_policy(self, judge: Judge) -> None:
        """Ask this one too, for every action: nobody decides to whom it does not say yes."""
        self._policy = judge

    def permissions_for(self, action: str) -> frozenset[str]:
        """Return the permissions that whoever decides on an action must hold."""
        declared = self._actions.get(action)
        judges = () if declared is None else declared.judges
        return frozenset(each.permission for each in judges if isinstance(each, ByPermission))

    @property
    def actions(self) -> Collection[str]:
        """The names of the actions that are declared."""
        return tuple(self._actions)

    async def check(self) -> None:
        """Warn of actions that fewer active accounts could approve than it takes: two, or the quorum.

        Only where a permission alone says who may: nobody but the application knows whom its own judge would let.
        """
        catalogue = self._catalogue()
        for action in self._actions.values():
            permission = action.permission
            if permission is None:
                continue
            giving = [name for name in catalogue.names if permission in catalogue.permissions_of(frozenset({name}))]
            count = await self._store.count_holders(giving, permission)
            if count < max(2, action.quorum):
                extra = {"action": action.name, "permission": permission, "accounts": count, "quorum": action.quorum}
                _log.warning("approvals_too_few_approvers", extra=extra)

    # --- judging

    def _require_may(self, me: Principal, stored: StoredApproval) -> Action:
        if stored.is_own:
            raise OwnRequest("Somebody else has to decide on what you have asked for.")
        action = self._actions.get(stored.action)
        decision = None if action is None else self._decision(action, me, stored)
        if action is not None and decision is not None and decision.allowed:
            return action
        if not self._is_visible(me, stored):
            raise no_such_request()
        raise PolicyDenied(decision.reason if decision is not None and decision.reason else None)

    def _decision(self, action: Action, me: Principal, stored: StoredApproval) -> Decision:
        asked = action if self._policy is None else replace(action, judges=(*action.judges, self._policy))
        return asked.decide(me, ApprovalView.of(stored))

    def _may(self, me: Principal, stored: StoredApproval) -> bool:
        action = self._actions.get(stored.action)
        return action is not None and self._decision(action, me, stored).allowed

    def _is_visible(self, me: Principal, stored: StoredApproval) -> bool:
        if stored.is_mine or Administration.APPROVALS_READ in me.permissions:
            return True
        return can_decide(me) and self._may(me, stored)


def no_such_request() -> NotFound:
    """Return the error for a request that is not there, or that is not the caller's to see."""
    return NotFound("There is no such request.")
