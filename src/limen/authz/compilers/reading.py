"""How the fields of subject, resource and context are read when it is decided. Nothing here does I/O.

Of a mapped class only what was loaded counts: an attribute that SQLAlchemy would have to fetch is an error and never a
statement, so that no N+1 hides in a policy.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from limen.authz.policy.nodes import Attribute, Source
from limen.authz.policy.values import ABSENT, uuid_of
from limen.core.principal import Principal

NO_CONTEXT: Final[Mapping[str, object]] = MappingProxyType({})
OWN_FIELDS: Final = frozenset({"kind", "sid", "client_id", "issuer"})
"""The fields of a principal that bear the same name in a policy; ``id`` is ``sub``."""


class NotLoaded(Exception):
    """A field of the resource was not loaded, so that nothing can be said.

    Attributes:
        field: the name of the field, with that of the class.
    """

    def __init__(self, owner: object, name: str) -> None:
        super().__init__()
        self.field = f"{type(owner).__name__}.{name}"


class Untold:
    """Stands where the subject's attributes were not loaded at all: none is known, and none is known to be missing."""

    __slots__ = ("_tell",)

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def get(self, _name: str) -> object:
        """Return what no leaf is true of."""
        self._tell()
        return ABSENT


def completed(instance: object, names: Iterable[str], relations: Iterable[str]) -> Mapping[str, Any]:
    """Return the loaded attributes of an instance that lacks one: None where it is new, and nothing was set.

    Args:
        instance: of a mapped class.
        names: those that are read.
        relations: which of them lead to many rows; of a new one these are none.

    Raises:
        NotLoaded: it stands for a row, and one of them was deferred, expired, or is a relation not yet followed.
    """
    from limen.authz.compilers.sql.instances import has_row

    loaded = instance.__dict__
    lacking = [name for name in names if name not in loaded]
    if lacking and has_row(instance):
        raise NotLoaded(instance, lacking[0])
    empty = frozenset(relations)
    return {**loaded, **{name: () if name in empty else None for name in lacking}}


def step(value: Any, name: str) -> Any:
    """Return a field of what a relation to one leads to; `ABSENT` where it leads nowhere.

    Raises:
        NotLoaded: it was not loaded.
    """
    if value is None or value is ABSENT:
        return ABSENT
    loaded = getattr(value, "__dict__", None)
    if loaded is not None and "_sa_instance_state" in loaded:
        return loaded[name] if name in loaded else completed(value, (name,), ())[name]
    return value.get(name) if isinstance(value, Mapping) else plain(value, name)


def plain(value: Any, name: str) -> Any:
    """Return a field of a plain object.

    Raises:
        NotLoaded: it has none of that name.
    """
    try:
        return getattr(value, name)
    except AttributeError:
        raise NotLoaded(value, name) from None


def read(attribute: Attribute, principal: Principal, row: Any, context: Mapping[str, object]) -> Any:
    """Return the value of an attribute, as the compiled functions read it; for explanations.

    Raises:
        NotLoaded: it is the resource's, and was not loaded.
    """
    path = attribute.path
    name = path[0]
    if attribute.source is Source.SUBJECT:
        value = _of_subject(principal, name)
    elif attribute.source is Source.CONTEXT:
        value = context.get(name, ABSENT)
    else:
        value = step(row, name)
        if value is None and attribute.shape.to_many and "_sa_instance_state" in getattr(row, "__dict__", ()):
            value = ()  # a new instance: no row belongs to it yet
    for name in path[1:]:
        value = step(value, name)
    return value if attribute.cast is None else uuid_of(value)


def _of_subject(principal: Principal, name: str) -> Any:
    if name == "id":
        return principal.sub or None
    if name in OWN_FIELDS:
        return getattr(principal, name)
    return ABSENT if principal.attributes is None else principal.attributes.get(name)
