"""The one place where a requirement is held against a principal."""

from limen.core.decision import ALLOWED, Decision
from limen.core.principal import Principal, PrincipalKind
from limen.guard.requirements import Names, Requirement

_ANONYMOUS = PrincipalKind.ANONYMOUS
_MISSING = Decision(allowed=False, code="credential_missing", reason="Authentication is required.")
_STEP_UP = Decision(
    allowed=False, code="step_up_required", reason="A person has to log in for this; an API key or a service cannot."
)
_CERTIFICATE = Decision(allowed=False, code="certificate_required", reason="A client certificate is required.")


def decide(requirement: Requirement, principal: Principal) -> Decision:
    """Tell whether the principal meets the requirement, and if not, what is missing.

    Pure: no clock, no store. `Requirement.live` is not its business: whoever asks the store decides with the principal
    that the store answered.

    Returns:
        a decision with one of the codes ``credential_missing``, ``step_up_required``, ``certificate_required`` (401),
        ``role_required``, ``permission_required`` (403).
    """
    if requirement.public:
        return ALLOWED
    if principal.kind is _ANONYMOUS:
        return _MISSING
    refused = _unproved(requirement, principal)
    if refused is None:  # a refusal is false, so `or` would go on behind it
        refused = _unnamed(requirement, principal)
    return ALLOWED if refused is None else refused


def _unproved(requirement: Requirement, principal: Principal) -> Decision | None:
    """Return what is missing of how the principal proved who it is."""
    if requirement.interactive and not principal.is_interactive:
        return _STEP_UP
    if requirement.client_certificate and not principal.is_by_certificate:
        return _CERTIFICATE
    return None


def _unnamed(requirement: Requirement, principal: Principal) -> Decision | None:
    """Return which role or permission is missing."""
    for names in requirement.roles_any:
        if principal.roles.isdisjoint(names):
            return Decision(allowed=False, code="role_required", reason=_sentence("role", names))
    if requirement.permissions_all and not principal.permissions.issuperset(requirement.permissions_all):
        missing = tuple(name for name in requirement.permissions_all if name not in principal.permissions)
        return Decision(allowed=False, code="permission_required", reason=_all_sentence(missing))
    for names in requirement.permissions_any:
        if principal.permissions.isdisjoint(names):
            return Decision(allowed=False, code="permission_required", reason=_sentence("permission", names))
    return None


def _sentence(noun: str, names: Names) -> str:
    if len(names) == 1:
        return f"The {noun} {names[0]} is required."
    return f"One of the {noun}s {', '.join(names)} is required."


def _all_sentence(names: Names) -> str:
    if len(names) == 1:
        return f"The permission {names[0]} is required."
    return f"The permissions {', '.join(names)} are required."
