"""What a FastAPI application writes: each requirement is a decorator, a dependency and an annotation in one object."""

from inspect import Parameter, Signature
from typing import Annotated

from fastapi import params
from starlette.requests import HTTPConnection

from limen.core.principal import Principal
from limen.guard.requirements import PUBLIC, Requirement
from limen.web.guard.declarations import (
    Declaration,
    Enforcement,
    GuardFactory,
    InterceptFactory,
    PermissionsFactory,
    RolesFactory,
    current_principal,
    current_principal_dependency,
)
from limen.web.guard.own_code import ResponseStart
from limen.web.guard.wrapping import CONNECTION_PARAMETER, PrincipalMarker
from limen.web.validation import answer_invalid_input


class _ByIdentity(params.Depends):
    """FastAPI's `Depends` compares by value; ours are told apart, or ``typing`` would take two for one."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class DependableDeclaration(Declaration, _ByIdentity):
    """A requirement that FastAPI takes for a dependency as well: ``dependencies=[roles("admin")]``."""

    def __init__(self, requirement: Requirement) -> None:
        params.Depends.__init__(self, dependency=Enforcement(requirement))
        Declaration.__init__(self, requirement)
        # What FastAPI is to hand in where it takes the object itself for a dependency: ``Depends(roles("maker"))``.
        connection = Parameter(CONNECTION_PARAMETER, Parameter.KEYWORD_ONLY, annotation=HTTPConnection)
        object.__setattr__(self, "__signature__", Signature([connection]))

    __repr__ = Declaration.__repr__


class CurrentPrincipalDependency(PrincipalMarker, _ByIdentity):
    """In an annotation: the principal of this request, handed in by the decorator or by FastAPI."""

    def __init__(self) -> None:
        params.Depends.__init__(self, dependency=current_principal_dependency)


CurrentPrincipal = Annotated[Principal, CurrentPrincipalDependency()]
"""Annotates a parameter that is to get whoever is calling; on a public route that may be the anonymous principal."""

client_certificate = DependableDeclaration(Requirement(client_certificate=True))
"""A service has to have proved itself by its client certificate on this connection (401 ``certificate_required``)."""

guard = GuardFactory(DependableDeclaration)
"""``guard(check)``: a function of one's own, ``check(principal, request)``, has to say yes as well."""

intercept = InterceptFactory(DependableDeclaration)
"""``intercept(before=…, after=…)``: functions of one's own around the handler, which refuse or look on."""

interactive = DependableDeclaration(Requirement(interactive=True))
"""A person has to have logged in: what an API key, a service or a message must not do (401 ``step_up_required``)."""

live = DependableDeclaration(Requirement(live=True))
"""Ask the store again before the handler runs: the account is active, and holds the roles still."""

public = DependableDeclaration(PUBLIC)
"""Anybody may call. As a decorator it counts only directly on what is registered: it must be the outermost."""

roles = RolesFactory(DependableDeclaration)
"""``roles("maker", "admin")``: one of them is required."""

permissions = PermissionsFactory(DependableDeclaration)
"""``permissions("order:create")``: all of them are required; ``permissions.any(…)``: one of them."""

__all__ = [
    "CurrentPrincipal",
    "ResponseStart",
    "answer_invalid_input",
    "client_certificate",
    "current_principal",
    "guard",
    "interactive",
    "intercept",
    "live",
    "permissions",
    "public",
    "roles",
]
