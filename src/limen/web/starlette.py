"""What a Starlette application writes on its endpoints. FastAPI is not needed for it."""

from typing import Annotated

from limen.core.principal import Principal
from limen.guard.requirements import PUBLIC, Requirement
from limen.web.guard.declarations import (
    Declaration,
    GuardFactory,
    InterceptFactory,
    PermissionsFactory,
    RolesFactory,
    current_principal,
)
from limen.web.guard.own_code import ResponseStart
from limen.web.guard.wrapping import PrincipalMarker

CurrentPrincipal = Annotated[Principal, PrincipalMarker()]
"""Annotates a parameter of a decorated endpoint that is to get whoever is calling."""

client_certificate = Declaration(Requirement(client_certificate=True))
"""A service has to have proved itself by its client certificate on this connection (401 ``certificate_required``)."""

guard = GuardFactory(Declaration)
"""``guard(check)``: a function of one's own, ``check(principal, request)``, has to say yes as well."""

intercept = InterceptFactory(Declaration)
"""``intercept(before=…, after=…)``: functions of one's own around the handler, which refuse or look on."""

interactive = Declaration(Requirement(interactive=True))
"""A person has to have logged in: what an API key, a service or a message must not do (401 ``step_up_required``)."""

live = Declaration(Requirement(live=True))
"""Ask the store again before the handler runs: the account is active, and holds the roles still."""

public = Declaration(PUBLIC)
"""Anybody may call. It counts only directly on what is registered: it must be the outermost decorator."""

roles = RolesFactory(Declaration)
"""``roles("maker", "admin")``: one of them is required."""

permissions = PermissionsFactory(Declaration)
"""``permissions("order:create")``: all of them are required; ``permissions.any(…)``: one of them."""

__all__ = [
    "CurrentPrincipal",
    "ResponseStart",
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
