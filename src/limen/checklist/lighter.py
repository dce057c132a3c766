"""Makes FastAPI's part of an import cheaper, without a difference that an application could tell.

FastAPI builds a validator for each parameter and each answer of each route: that is a third of the import of a large
application, and only requests need them. Here they are built when somebody asks for them, where building them cannot
fail. A FastAPI that is written in another way than is known here is left as it is.
"""

import datetime as dt
import decimal
import types
import typing
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

_STEPS: Final = frozenset(
    {
        *("warnings", "catch_warnings", "shared", "PYDANTIC_VERSION_MINOR_TUPLE", "pydantic.warnings"),
        *("UnsupportedFieldAttributeWarning", "simplefilter", "asdict", "field_info", "Field", "TypeAdapter", "cast"),
        *("Any", "Annotated", "config", "_type_adapter", "evaluate_forwardref", "annotation", "metadata"),
    }
)
"""What FastAPI's ``ModelField.__post_init__`` asks and sets, as far as it is known here."""
_FIELDS: Final = frozenset({"field_info", "name", "mode", "config"})
_PLAIN: Final = (
    *(str, int, float, bool, bytes, type(None), decimal.Decimal, uuid.UUID),
    *(dt.datetime, dt.date, dt.time, dt.timedelta),
)
_OF_PLAIN: Final = (list, dict, typing.Union, types.UnionType)
_LIBRARIES: Final = ("pydantic.fields", "fastapi.params")


def build_validators_later(module: Any) -> None:
    """Let FastAPI build the validator of a field when it is asked for, where building it cannot fail.

    Args:
        module: ``fastapi._compat.v2``.
    """
    kind: Any = getattr(module, "ModelField", None)
    real = getattr(kind, "__post_init__", None)
    if not isinstance(real, types.FunctionType) or hasattr(kind, "__getattr__"):
        return
    names = {*getattr(kind, "__dataclass_fields__", ())}
    if {"field_info"} <= names <= _FIELDS and {"_type_adapter", "TypeAdapter"} <= {*real.__code__.co_names} <= _STEPS:
        base = module.BaseModel

        def post_init(self: Any) -> None:
            if not _cannot_fail(self, base):
                real(self)

        def ask(self: Any, name: str) -> Any:
            if name != "_type_adapter":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            real(self)
            return self.__dict__[name]

        kind.__post_init__, kind.__getattr__ = post_init, ask


def _cannot_fail(field: Any, base: type) -> bool:
    info = field.field_info
    if getattr(field, "config", None) is not None or type(info).__module__ not in _LIBRARIES or info.metadata:
        return False
    if info.default_factory is not None or info.discriminator is not None or info.validate_default:
        return False
    aliases = (info.alias, info.validation_alias, info.serialization_alias)
    return all(each is None or type(each) is str for each in aliases) and _is_plain(info.annotation, base)


def _is_plain(annotation: Any, base: type) -> bool:
    origin = typing.get_origin(annotation)
    if origin is None:
        # Not `in`, for which a class of the application's may have an answer of its own.
        return any(annotation is each for each in _PLAIN) or _is_finished(annotation, base)
    if any(origin is each for each in _OF_PLAIN):
        return all(_is_plain(each, base) for each in typing.get_args(annotation))
    return False


def _is_finished(kind: Any, base: Any) -> bool:
    """Tell whether it is a model whose schema is there, and is made by pydantic alone."""
    if not isinstance(kind, type) or base not in kind.__mro__ or not kind.__dict__.get("__pydantic_complete__"):
        return False
    made_by = getattr(kind.__get_pydantic_core_schema__, "__func__", None)  # type: ignore[attr-defined]
    is_own = made_by is not base.__get_pydantic_core_schema__.__func__ or hasattr(kind, "__get_validators__")
    return not is_own


LIGHTER: Final[Mapping[str, Callable[[Any], None]]] = {
    "fastapi._compat.v2": build_validators_later,
}
"""What is changed in FastAPI's modules as soon as they are imported."""
