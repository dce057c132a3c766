"""What a policy is written with: ``subject()``, ``resource()`` and ``context()`` have fields; ``python()`` has none."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NoReturn

from limen.authz.permissions import permission_name
from limen.authz.policy.conditions import NO_TRUTH, Condition, Expression, condition_of
from limen.authz.policy.fields import Field
from limen.authz.policy.models import field_of, field_shape, meant, shape_of
from limen.authz.policy.nodes import Attribute, HasPermission, HasRole, PythonLeaf, Row, Source
from limen.authz.policy.shapes import FieldShape, Kind, Model, Shape
from limen.authz.policy.tree import operands_of, rows_of
from limen.authz.roles import role_name
from limen.core.errors import ConfigurationError
from limen.core.principal import PrincipalKind

__all__ = [
    "CONTEXT_FIELDS",
    "SUBJECT_FIELDS",
    "Condition",
    "Context",
    "Expression",
    "Field",
    "Resource",
    "Subject",
    "condition_of",
    "context",
    "meant",
    "operands_of",
    "python",
    "resource",
    "rows_of",
    "subject",
]


class _Fields:
    """What has fields: each is an attribute by its name, and an item where Python has other plans for the name.

    Args:
        source: whose fields they are.
        called: what messages call it.
        look_up: returns what is known of a field by its name; it raises for a name that is none.
        row: the row that they are read from, for a resource's.
    """

    # Names that no field of a model has.
    __slots__ = ("__called", "__look_up", "__row", "__source")

    def __init__(
        self, source: Source, called: str, look_up: Callable[[str], FieldShape], row: Row | None = None
    ) -> None:
        self.__source = source
        self.__called = called
        self.__look_up = look_up
        self.__row = row

    def __getattr__(self, name: str) -> Field:
        if name.startswith("_"):
            raise AttributeError(f"no attribute {name}; a field of that name is an item: [{name!r}]")
        return self[name]

    def __getitem__(self, name: str) -> Field:
        """Return a field, whatever its name.

        Raises:
            ConfigurationError: there is none.
        """
        found = self.__look_up(name)
        return Field(Attribute(self.__source, (found.name,), found, self.__row))

    def __bool__(self) -> NoReturn:
        raise ConfigurationError(NO_TRUTH)

    def __contains__(self, item: object) -> NoReturn:
        raise ConfigurationError(f"{self!r} holds no values. Write a field of it, and .in_([…]) or .contains(…).")

    def __iter__(self) -> NoReturn:
        raise ConfigurationError(f"{self!r} holds no values. Write a field of it.")

    def __repr__(self) -> str:
        return f"<{self.__source.value} {self.__called}>"


class Resource(_Fields):
    """What is acted on, of one model: its fields, checked by name."""

    __slots__ = ()


class Context(_Fields):
    """What is known beside subject and resource: the time, an address."""

    __slots__ = ()


SUBJECT_FIELDS: Final = {
    "id": FieldShape("id", Kind.TEXT, nullable=False),
    "kind": FieldShape("kind", Kind.TEXT, nullable=False, options=frozenset(str(kind) for kind in PrincipalKind)),
    "sid": FieldShape("sid", Kind.TEXT),
    "client_id": FieldShape("client_id", Kind.TEXT),
    "issuer": FieldShape("issuer", Kind.TEXT),
}
"""What every principal has. ``id`` is ``sub``; of the anonymous principal it is missing."""


class Subject(_Fields):
    """Who acts: what every principal has, and what the application's loader of ``attributes=`` tells beside."""

    __slots__ = ()

    def has_role(self, name: str) -> Condition:
        """Ask whether the role is held; a member of a ``StrEnum`` is welcome.

        Raises:
            ConfigurationError: it is no name of a role.
        """
        return Condition(HasRole(role_name(name)))

    def has_permission(self, name: str) -> Condition:
        """Ask whether a role gives the permission, or it was granted; a member of a ``StrEnum`` is welcome.

        Raises:
            ConfigurationError: it is no name of a permission.
        """
        return Condition(HasPermission(permission_name(name)))


def _subject_field(shape: Shape | None, name: str) -> FieldShape:
    own = SUBJECT_FIELDS.get(name)
    if own is not None:
        return own
    if shape is None:
        return FieldShape(name, Kind.ANY)
    found = field_of(shape, name)
    if found.kind is Kind.RELATION:
        raise ConfigurationError(
            f"subject.{name} is a relation, and attributes= tells plain values. Let it tell the field that is meant, "
            f"such as {name}_id."
        )
    return found


def subject(model: Model | None = None) -> Subject:
    """Return who acts.

    Args:
        model: a class with the fields that ``attributes=`` tells of, so that names and types are checked; without one
            any name is taken, and its value is what it happens to be. ``id``, ``kind``, ``sid``, ``client_id`` and
            ``issuer`` are the principal's own, whatever the class says.

    Raises:
        ConfigurationError: nothing is known of such a class.
    """
    shape = None if model is None else shape_of(model)
    return Subject(Source.SUBJECT, "" if shape is None else shape.name, partial(_subject_field, shape))


def resource(model: Model, name: str | None = None) -> Resource:
    """Return what is acted on.

    Args:
        model: a SQLAlchemy model, a dataclass, a pydantic model or a TypedDict.
        name: tells two rows of one model apart, in `Field.any` of a relation to the model itself.

    Raises:
        ConfigurationError: nothing is known of such a class.
    """
    shape = shape_of(model)
    if name is not None and not str(name).isidentifier():
        raise ConfigurationError(f"resource({shape.name}, {name!r}): this is no name. Write one like a variable's.")
    row = Row(model, shape.name if name is None else str(name))
    return Resource(Source.RESOURCE, row.name, partial(field_of, shape), row)


CONTEXT_FIELDS: Final = {"now": FieldShape("now", Kind.AWARE, nullable=False)}
"""What is known wherever something is decided: the time."""


def context(**fields: object) -> Context:
    """Return what is known beside subject and resource: ``now``, and what the caller hands in, by name and type.

    ::

        C = context(address=str, amount=Decimal | None)
        deny("order:approve", C.address.starts_with("192.0.2."), id="not-from-there")

    Raises:
        ConfigurationError: a type is none whose values can be compared.
    """
    told = {name: field_shape(name, annotation) for name, annotation in fields.items()}
    for name, field in told.items():
        if name in CONTEXT_FIELDS:
            raise ConfigurationError(
                f"context({name}=…): the time is there always. Leave it out, or name it otherwise."
            )
        if field.refused or field.kind is Kind.RELATION:
            why = field.refused or "it is a class of fields; hand in the fields by name"
            raise ConfigurationError(f"context({name}=…) cannot be part of a policy: {why}.")
    shape = Shape(object, "context", {**told, **CONTEXT_FIELDS})
    return Context(Source.CONTEXT, ", ".join(shape.fields), partial(field_of, shape))


def python(
    function: Callable[[Any, Any, Any], bool | None],
    *,
    sql: Callable[[Any, Any], Any] | None = None,
    name: str | None = None,
) -> Condition:
    """Return a condition that a function of the application's own decides: synchronous, without I/O.

    Args:
        function: ``function(subject, resource, context)``; True, False, or None where it cannot tell, which is a no.
        sql: ``sql(subject, model)`` returns the same as a condition of SQLAlchemy. Without it, the policy is refused
            where lists are filtered by it.
        name: what explanations call it; the function's by default.

    Raises:
        ConfigurationError: it cannot be called so.
    """
    _check_call("python(function)", function, ("subject", "resource", "context"))
    if sql is not None:
        _check_call("python(sql=function)", sql, ("subject", "model"))
    called = name or str(getattr(function, "__qualname__", type(function).__name__))
    return Condition(PythonLeaf(function, called, sql))


def _check_call(where: str, function: object, names: tuple[str, ...]) -> None:
    how = f"Write def check({', '.join(names)}), which returns at once."
    if not callable(function) or isinstance(function, Expression):
        raise ConfigurationError(f"{where} is given {function!r}, which cannot be called. {how}")
    if _waits(function) or _waits(getattr(function, "__call__", None)):  # noqa: B004 - an object that is called
        raise ConfigurationError(f"{where} is given a function that waits, and deciding never does. {how}")
    try:
        inspect.signature(function).bind(*names)
    except TypeError as error:
        raise ConfigurationError(f"{where} is not called with {len(names)} values: {error}. {how}") from error
    except ValueError:
        # Some functions written in C do not tell how they are called.
        return


def _waits(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function)
