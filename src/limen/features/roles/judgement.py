"""Who changes roles, and what they may: held against the database as it was read for this change."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from limen.authz.administration import not_passable
from limen.authz.roles import RoleCatalogue
from limen.core.errors import OwnRequest, PermissionRequired
from limen.core.held import ends_of, given, lasting
from limen.core.principal import Principal
from limen.features.roles.store import Seen, Snapshot

_LISTED: Final = 5
"""How many missing permissions a refusal names."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever has the command line, and with it the database: may grant anything.

    Attributes:
        name: who did it, in the audit trail.
    """

    name: str = "cli"


OPERATOR: Final = Operator()

Actor: TypeAlias = Principal | Operator
"""Who changes something: a principal that was asked live, or the operator."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of who acts, and of the roles, as they were read together.

    ``held`` is what who acts may give and take; None for the operator, who may anything.
    """

    snapshot: Snapshot
    catalogue: RoleCatalogue
    seen: Seen
    held: frozenset[str] | None

    def require(self, *permissions: str) -> None:
        """Refuse where one of the permissions is not held."""
        if self.held is not None:
            _refuse(sorted(set(permissions) - self.held))

    def require_passable(self, permissions: Collection[str]) -> None:
        """Refuse where one of the permissions is neither held nor may be passed on."""
        if self.held is not None:
            _refuse(not_passable(permissions, self.held))

    def require_lasting(self, permissions: Collection[str], until: int | None) -> None:
        """Refuse where one of them is held, or may be passed on, for a shorter time than until then; None: for good.

        Otherwise somebody who may do something for an hour would give it to a second account of theirs for good.
        """
        actor = self.seen.actor
        if self.held is None or actor is None:
            return
        names, permissions_of = self.catalogue.names, self.catalogue.permissions_of
        lasts = given(lasting(actor.held, until), names, permissions_of)[1] & self.held
        if not_passable(permissions, lasts):
            raise PermissionRequired("This takes permissions that you hold for a shorter time than that.")

    def refuse_own_gain(self, after: RoleCatalogue) -> None:
        """Refuse roles by which who acts would have more, or for longer: what one may pass on is not for oneself."""
        actor = self.seen.actor
        if actor is None:
            return
        ends = frozenset(ends_of(actor.held).values())
        # What is held changes at these moments only: until each end, and from then on.
        moments = (0, None, *ends, *(end + 1 for end in ends))
        for roles in {actor.roles & lasting(actor.held, moment) for moment in moments}:
            if not after.permissions_of(roles) <= self.catalogue.permissions_of(roles):
                raise OwnRequest("Nobody adds to their own permissions.")

    def permissions_in(self, roles: frozenset[str]) -> frozenset[str]:
        """Return what roles give together: also those of which an account may not hold two."""
        return self.catalogue.permissions_of(roles)

    def gives(self, name: str) -> frozenset[str]:
        """Return what a role gives."""
        return self.catalogue.permissions_of(frozenset({name}))


def name_of(actor: Actor) -> str:
    """Return who acts, as the audit trail names them."""
    return actor.name if isinstance(actor, Operator) else actor.sub


def _refuse(missing: Sequence[str]) -> None:
    if missing:
        told = ", ".join(missing[:_LISTED]) + (" and others" if len(missing) > _LISTED else "")
        raise PermissionRequired(f"This takes permissions that you do not hold: {told}.")
