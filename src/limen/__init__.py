"""limen: authentication and authorization for Python services.

The names here are the public ones; everything else may change. No web framework is imported: `limen.fastapi` and
`limen.starlette` do that. Each name is loaded when it is first asked for, so that a command that needs one of them does
not wait for the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limen.authn.external import ClaimRule, ExternalIssuer
    from limen.authn.own_strategy import OwnStrategy
    from limen.authn.strategy import Authenticated, PresentedCredential
    from limen.authz.administration import ADMINISTRATION
    from limen.authz.engine import Policies
    from limen.authz.policy.expressions import context, python, resource, subject
    from limen.authz.policy.rules import PolicySet, allow, deny, expect
    from limen.core.decision import Decision
    from limen.core.errors import Conflict, Forbidden, InputFault, InvalidInput, LimenError, NotFound, Unauthenticated
    from limen.core.principal import Principal, PrincipalKind
    from limen.features.accounts.existing import ExistingAccount, ExistingAccounts
    from limen.features.approvals.service import ApprovalView, Approved, Judge
    from limen.features.sso.providers import SSOProvider
    from limen.settings import Settings
    from limen.wiring import Limen

__all__ = [
    "ADMINISTRATION",
    "ApprovalView",
    "Approved",
    "Authenticated",
    "ClaimRule",
    "Conflict",
    "Decision",
    "ExistingAccount",
    "ExistingAccounts",
    "ExternalIssuer",
    "Forbidden",
    "InputFault",
    "InvalidInput",
    "Judge",
    "Limen",
    "LimenError",
    "NotFound",
    "OwnStrategy",
    "Policies",
    "PolicySet",
    "PresentedCredential",
    "Principal",
    "PrincipalKind",
    "SSOProvider",
    "Settings",
    "Unauthenticated",
    "allow",
    "context",
    "deny",
    "expect",
    "python",
    "resource",
    "subject",
]

_HOMES = {
    "ADMINISTRATION": "limen.authz.administration",
    "ApprovalView": "limen.features.approvals.service",
    "Approved": "limen.features.approvals.service",
    "Authenticated": "limen.authn.strategy",
    "ClaimRule": "limen.authn.external",
    "Decision": "limen.core.decision",
    "ExistingAccount": "limen.features.accounts.existing",
    "ExistingAccounts": "limen.features.accounts.existing",
    "ExternalIssuer": "limen.authn.external",
    "Judge": "limen.features.approvals.service",
    "Limen": "limen.wiring",
    "OwnStrategy": "limen.authn.own_strategy",
    "Policies": "limen.authz.engine",
    "PolicySet": "limen.authz.policy.rules",
    "PresentedCredential": "limen.authn.strategy",
    "Principal": "limen.core.principal",
    "PrincipalKind": "limen.core.principal",
    "SSOProvider": "limen.features.sso.providers",
    "Settings": "limen.settings",
    "allow": "limen.authz.policy.rules",
    "context": "limen.authz.policy.expressions",
    "deny": "limen.authz.policy.rules",
    "expect": "limen.authz.policy.rules",
    "python": "limen.authz.policy.expressions",
    "resource": "limen.authz.policy.expressions",
    "subject": "limen.authz.policy.expressions",
}


def __getattr__(name: str) -> Any:
    """Load a public name from where it lives (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "limen.core.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
