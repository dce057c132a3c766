"""``/admin/api``: everything that is administered over HTTP, each area in a module of its own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limen.features.accounts.administration import AccountAdministration
from limen.features.accounts.service import AccountService
from limen.features.api_keys.building import ApiKeys
from limen.features.client_certificates.service import ClientCertificateService
from limen.features.events.service import EventService
from limen.features.recovery.service import RecoveryService
from limen.features.roles.permissions import PermissionService
from limen.features.roles.service import RoleService
from limen.features.sessions.service import SessionService
from limen.features.throttling.building import Throttling
from limen.web.routes.accounts_admin import account_admin_paths, account_admin_routes
from limen.web.routes.api_keys import service_paths, service_routes
from limen.web.routes.client_certificates import certificate_paths, certificate_routes
from limen.web.routes.differences import difference_paths, difference_routes
from limen.web.routes.endpoint import Routes
from limen.web.routes.events import event_paths, event_routes
from limen.web.routes.explain import explain_paths, explain_routes
from limen.web.routes.grants import grant_paths, grant_routes
from limen.web.routes.recovery import start_paths, start_routes
from limen.web.routes.roles import role_paths, role_routes
from limen.web.routes.schema import Paths

if TYPE_CHECKING:
    # A name only: whoever has no policies does not wait for what compiles them.
    from limen.authz.compilers.explain import Explanation
    from limen.authz.shadow import PolicyDifferences

PREFIX: Final = "/admin/api"
"""Where the routes are; the same in every application, whatever the prefix of the others is."""


@dataclass(frozen=True, slots=True)
class Administered:
    """The use cases behind the routes."""

    roles: RoleService
    accounts: AccountService
    administration: AccountAdministration
    sessions: SessionService
    events: EventService
    client_certificates: ClientCertificateService
    permissions: PermissionService
    explain: "Callable[[str, str, str | None], Awaitable[Explanation]]"
    policy_differences: "Callable[[], PolicyDifferences | None]"
    throttling: Throttling
    api_keys: ApiKeys | None = None
    recovery: RecoveryService | None = None


def administration_routes(services: Administered) -> Routes:
    """Make the endpoints of every area."""
    return {
        **role_routes(services.roles, prefix=PREFIX),
        **account_admin_routes(
            services.accounts,
            services.administration,
            services.sessions,
            services.permissions,
            services.throttling.requests,
            prefix=PREFIX,
        ),
        **grant_routes(services.roles, services.permissions, prefix=PREFIX),
        **event_routes(services.events, prefix=PREFIX),
        **explain_routes(services.explain, prefix=PREFIX),
        **difference_routes(services.policy_differences, prefix=PREFIX),
        **certificate_routes(services.client_certificates, prefix=PREFIX),
        **(service_routes(services.api_keys, prefix=PREFIX) if services.api_keys is not None else {}),
        **(
            start_routes(services.recovery, services.throttling.requests, prefix=PREFIX)
            if services.recovery is not None
            else {}
        ),
    }


def administration_paths(*, api_keys: bool = False, recovery: bool = False) -> Paths:
    """Describe them."""
    services = service_paths(PREFIX) if api_keys else {}
    return {
        **role_paths(PREFIX),
        **account_admin_paths(PREFIX),
        **grant_paths(PREFIX),
        **event_paths(PREFIX),
        **explain_paths(PREFIX),
        **difference_paths(PREFIX),
        **certificate_paths(PREFIX),
        **services,
        **(start_paths(PREFIX) if recovery else {}),
    }
