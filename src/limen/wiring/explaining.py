"""Explains a decision about an account that is not calling: an administrator asks."""

from typing import TYPE_CHECKING

from limen.authz.explaining import PolicyResources
from limen.core.errors import InputFault, InvalidInput, NotFound
from limen.core.held import given, joined
from limen.core.ids import is_uuid7
from limen.core.principal import Principal, PrincipalKind
from limen.features.accounts.store import AccountStatus

if TYPE_CHECKING:
    # Names only: the gate is made of this, and whoever has no policies does not wait for what compiles them.
    from limen.authz.compilers.explain import Explanation
    from limen.wiring.knowing import KnowingGate

NOT_ACTIVE = "account_not_active"


async def explain_account(
    gate: "KnowingGate", resources: PolicyResources, account: str, action: str, resource: str | None
) -> "Explanation":
    """Return why an account may do something, or may not; see `limen.wiring.gate.Limen.explain_account`."""
    loaded = gate.loaded_policies
    if loaded is None:
        raise NotFound("There are no policies here.")
    accounts = gate.accounts
    found = await (accounts.by_id(account) if is_uuid7(account) else accounts.by_username(account))
    if action not in loaded.policies.actions:
        message = "No rule and no role knows this action."
        raise InvalidInput(message, errors=[InputFault(("query", "action"), "unknown_action", message)])
    about = None if resource is None else await resources.find(resource)
    if found.status is not AccountStatus.ACTIVE:
        from limen.authz.compilers.explain import Explanation, FailedLeaf

        # Whatever the rules say: it is let in nowhere.
        failed = FailedLeaf("", "the account is active", found.status.value, "active", NOT_ACTIVE)
        return Explanation(action, False, loaded.policies.version, code=NOT_ACTIVE, failed=(failed,))
    catalogue = gate.catalogue
    roles, permissions = given(joined(found.roles, found.permissions), catalogue.names, catalogue.permissions_of)
    principal = Principal(found.id, PrincipalKind(found.kind), roles, permissions)
    return loaded.policies.explain(await gate.subject_of(principal), action, about)
