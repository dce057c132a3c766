"""The catalogue of roles as the database has it, and what is asked to be put into it."""

from collections.abc import Sequence

from limen.authz.permissions import is_permission_name
from limen.authz.roles import Role, RoleCatalogue, is_role_name
from limen.core.errors import ConfigurationError, Conflict, InputFault, InvalidInput, Unavailable
from limen.features.roles.store import Definition, Snapshot


def catalogue_of(snapshot: Snapshot) -> RoleCatalogue:
    """Return what each stored role gives, with all that it extends.

    Raises:
        ConfigurationError: what is stored cannot be used: a malformed name, or roles that extend each other. Only a
            hand in the database, or a later version, writes such a thing.
    """
    return _catalogue(snapshot, [stored.definition for stored in snapshot.roles.values()])


def unusable() -> Unavailable:
    """Return the error for stored roles of which no catalogue can be made."""
    return Unavailable("The roles in the database cannot be used.")


def with_role(snapshot: Snapshot, definition: Definition) -> RoleCatalogue:
    """Return the catalogue as it would be with this role, made or replaced.

    Raises:
        InvalidInput: it would extend a role that is not there, or in the end itself.
        Conflict: whoever held it, or what extends it, would hold two roles at once that are separated.
    """
    faults = [
        InputFault(("body", "extends"), "unknown_role", f"There is no role {name}.")
        for name in sorted(definition.extends - snapshot.roles.keys())
    ]
    if faults:
        raise InvalidInput(faults[0].message, errors=faults)
    others = [stored.definition for name, stored in snapshot.roles.items() if name != definition.name]
    try:
        catalogue = _catalogue(snapshot, [*others, definition])
    except ConfigurationError:
        message = f"The role {definition.name} would extend itself."
        raise InvalidInput(message, errors=[InputFault(("body", "extends"), "invalid_value", message)]) from None
    _require_holdable(catalogue, definition.name)
    return catalogue


def definition_of(name: str, permissions: Sequence[str], extends: Sequence[str]) -> Definition:
    """Return the role that is asked for.

    Raises:
        InvalidInput: a name is malformed; the errors say which, by its place.
    """
    faults = []
    if not is_role_name(name):
        message = "The name of a role is a letter, then up to 63 letters, digits, '_', '.', ':' or '-'."
        faults.append(InputFault(("path", "name"), "invalid_value", message))
    for place, permission in enumerate(permissions):
        if not is_permission_name(permission):
            message = "A permission is resource:action, such as order:approve."
            faults.append(InputFault(("body", "permissions", place), "invalid_value", message))
    for place, extended in enumerate(extends):
        if not is_role_name(extended):
            faults.append(InputFault(("body", "extends", place), "invalid_value", "This is no name of a role."))
    if faults:
        raise InvalidInput(faults[0].message, errors=faults)
    return Definition(name, frozenset(map(str, permissions)), frozenset(map(str, extends)))


def _require_holdable(catalogue: RoleCatalogue, name: str) -> None:
    """Refuse a role by which somebody would have two roles that nobody may hold at once."""
    for role in sorted(catalogue.names):
        violated = catalogue.violated_by({role}) if catalogue.extends(role, name) else []
        if violated:
            one, other = violated[0]
            raise Conflict(f"By the role {role} somebody would hold {one} and {other} at once: they are separated.")


def _catalogue(snapshot: Snapshot, definitions: Sequence[Definition]) -> RoleCatalogue:
    roles = [Role(each.name, each.permissions, each.extends) for each in definitions]
    return RoleCatalogue(roles, snapshot.separated)
