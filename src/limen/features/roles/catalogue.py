"""The catalogue of roles as the database has it."""

from limen.authz.roles import Role, RoleCatalogue
from limen.features.roles.store import Snapshot


def catalogue_of(snapshot: Snapshot) -> RoleCatalogue:
    """Return what each stored role gives, with all that it extends.

    Raises:
        ConfigurationError: what is stored cannot be used: a malformed name, or roles that extend each other. Only a
            hand in the database, or a later version, writes such a thing.
    """
    return RoleCatalogue(
        [
            Role(name, stored.definition.permissions, stored.definition.extends)
            for name, stored in snapshot.roles.items()
        ]
    )
