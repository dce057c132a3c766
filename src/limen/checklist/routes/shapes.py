"""What a route takes and what it answers: the models of its body and of its answer, and their fields."""

import dataclasses
import functools
import inspect
import itertools
import re
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from starlette.responses import Response

from limen.checklist.facts import Field, Input, Output, Place
from limen.checklist.routes.answering import answers_itself
from limen.checklist.routes.code import place_of

_DEEPEST: Final = 4
_MOST_FIELDS: Final = 400
_HIDES: Final = re.compile(r"redact|mask|hide|obscure|censor", re.IGNORECASE)
_UNDECLARED: Final = (Any, dict, list, object, typing.Dict, typing.List, typing.Mapping)  # noqa: UP006 - as written there


def inputs_of(dependant: Any) -> tuple[Input, ...]:
    """Return what a FastAPI route takes from the body, dependencies included."""
    found = {}
    waiting = [dependant]
    while waiting:
        node = waiting.pop()
        waiting.extend(node.dependencies)
        for parameter in node.body_params:
            annotation = parameter.field_info.annotation
            found[parameter.name] = _input(parameter.name, annotation)
    return tuple(found.values())


def _input(name: str, annotation: Any) -> Input:
    models = list(_models_in(annotation))
    if models:
        # Of several, and of those inside them, the one that takes what it does not know is told.
        open_one = next((each for model in models for each in _with_inner(model) if not _is_closed(each)), None)
        told = open_one or models[0]
        file, line = place_of(told)
        fields = tuple(dict.fromkeys(field for model in models for field in _fields_of(model)))
        return Input(name, told.__name__, _shape_of(open_one), fields, Place(file, line))
    plain = _without_nothing(annotation)
    shape_of_rest: Literal["undeclared", "plain"] = "undeclared" if _is_undeclared(plain) else "plain"
    return Input(name, _text(annotation), shape_of_rest)


def _shape_of(open_one: Any) -> Literal["closed", "open", "keeping"]:
    if open_one is None:
        return "closed"
    return "keeping" if _extra_of(open_one) == "allow" else "open"


@functools.lru_cache(maxsize=4096)
def _with_inner(model: Any) -> tuple[Any, ...]:
    """Return a model and those inside it, the outer ones first."""
    found = [model]
    for each in found:
        for _, annotation, _ in itertools.islice(_annotations(each), _MOST_FIELDS):
            found += [inner for inner in _models_in(annotation) if not any(inner is one for one in found)]
    return tuple(each for each in found if not _is_root(each))


def output_of(shape: Any, endpoint: Any) -> Output:
    """Return what a FastAPI route declares to answer.

    Args:
        shape: the effective route.
        endpoint: the handler; one that is annotated to return a response makes it itself.
    """
    model = shape.response_model
    if inspect.isclass(model) and issubclass(model, Response):
        return Output(model.__name__, True)
    if shape.response_field is not None and model is not None:
        models = list(_models_in(model))
        fields = [each for kind in models for each in _fields_of(kind)]
        file, line = place_of(models[0]) if models else ("", 0)
        is_declared = bool(models) or not _is_undeclared(_without_nothing(model))
        return Output(_text(model), is_declared, tuple(_sent(fields, models, shape)), Place(file, line))
    if shape.status_code in {204, 205, 304} or answers_itself(endpoint):
        return Output("Response", True)
    kind = getattr(shape.response_class, "value", shape.response_class)
    name = getattr(kind, "__name__", "")
    return Output(name, inspect.isclass(kind) and name not in {"JSONResponse", "ORJSONResponse", "UJSONResponse"})


def _models_in(annotation: Any) -> Iterator[Any]:
    """Yield the models in an annotation, through unions, lists and aliases."""
    annotation = getattr(annotation, "__value__", annotation)
    if _is_model(annotation):
        yield annotation
        return
    if get_origin(annotation) is Literal:
        return
    arguments = get_args(annotation)
    for each in arguments[:1] if get_origin(annotation) is Annotated else arguments:
        yield from _models_in(each)


def _is_model(kind: Any) -> bool:
    if not inspect.isclass(kind):
        return False
    is_typed_dict = issubclass(kind, dict) and hasattr(kind, "__required_keys__")
    return hasattr(kind, "model_fields") or dataclasses.is_dataclass(kind) or is_typed_dict


def _is_root(model: Any) -> bool:
    """Tell whether a model is only another name for what is in it."""
    return hasattr(model, "__root__") or bool(getattr(model, "__pydantic_root_model__", False))


def _is_closed(model: Any) -> bool:
    return _extra_of(model) == "forbid"


def _extra_of(model: Any) -> str:
    config = getattr(model, "model_config", None) or getattr(model, "__pydantic_config__", None) or {}
    return str(config.get("extra") or "") if isinstance(config, dict) else ""


@functools.lru_cache(maxsize=4096)
def _fields_of(model: Any) -> tuple[Field, ...]:
    return tuple(_fields(model))


def _fields(model: Any, prefix: str = "", seen: tuple[Any, ...] = ()) -> Iterator[Field]:
    if model in seen or len(seen) >= _DEEPEST:
        return
    for name, annotation, hidden_by in itertools.islice(_annotations(model), _MOST_FIELDS):
        yield Field(prefix + name, _text(annotation) + (f" hidden by {hidden_by}" if hidden_by else ""))
        for inner in _models_in(annotation):
            yield from _fields(inner, f"{prefix}{name}.", (*seen, model))


def _annotations(model: Any) -> Iterator[tuple[str, Any, str]]:
    """Yield name and annotation of each field, and what hides its value, if anything does."""
    told = getattr(model, "model_fields", None)
    if not isinstance(told, dict):
        yield from ((name, annotation, "") for name, annotation in inspect.get_annotations(model).items())
        return
    hidden = _hidden_in(model)
    for name, field in told.items():
        if getattr(field, "exclude", None) is not True:
            by = hidden.get(name, hidden.get("*", "")) or _hidden_by(getattr(field, "metadata", ()))
            for each in dict.fromkeys((name, *_aliases(field))):
                yield each, field.annotation, by
    computed = getattr(getattr(model, "__pydantic_decorators__", None), "computed_fields", {})
    for name, decorated in computed.items():
        for each in dict.fromkeys((name, *_aliases(decorated.info))):
            yield each, decorated.info.return_type, hidden.get(name, "")


def _aliases(field: Any) -> Iterator[str]:
    for each in (getattr(field, "alias", None), getattr(field, "serialization_alias", None)):
        if isinstance(each, str):
            yield each


def _hidden_in(model: Any) -> dict[str, str]:
    """Return the fields whose value a validator or a serializer of the model puts something else in the place of."""
    decorated = getattr(model, "__pydantic_decorators__", None)
    validators = [
        each for each in getattr(decorated, "field_validators", {}).values() if _HIDES.search(each.cls_var_name)
    ]
    serializers = getattr(decorated, "field_serializers", {}).values()
    return {name: each.cls_var_name for each in (*validators, *serializers) for name in each.info.fields}


def _hidden_by(metadata: Iterable[Any]) -> str:
    for each in metadata:
        name = str(getattr(getattr(each, "func", None), "__name__", ""))
        if type(each).__name__ in {"PlainSerializer", "WrapSerializer"} or _HIDES.search(name):
            return name or type(each).__name__
    return ""


def _sent(fields: list[Field], models: list[Any], shape: Any) -> Iterator[Field]:
    """Leave out what a route says that is not sent of its answer."""
    excluded = _with_aliases(_paths(shape.response_model_exclude), models)
    included = _with_aliases(_paths(shape.response_model_include), models)
    for each in fields:
        parts = each.path.split(".")
        above = {".".join(parts[:number]) for number in range(1, len(parts) + 1)}
        is_included = not included or above & included or any(one.startswith(f"{each.path}.") for one in included)
        if is_included and not above & excluded:
            yield each


def _paths(stated: Any, prefix: str = "") -> set[str]:
    """Return the paths in ``{"a", "b"}`` or ``{"a": True, "b": {"c"}}``."""
    found: set[str] = set()
    for name in stated or ():
        inner = stated[name] if isinstance(stated, dict) else True
        step = prefix if name == "__all__" or isinstance(name, int) else f"{prefix}{name}"
        if isinstance(inner, set | dict) and inner:
            found |= _paths(inner, f"{step}." if step != prefix else prefix)
        elif step != prefix:
            found.add(step)
    return found


def _with_aliases(paths: set[str], models: list[Any]) -> set[str]:
    known = {name: field for model in models for name, field in (getattr(model, "model_fields", None) or {}).items()}
    return paths | {alias for name in paths & known.keys() for alias in _aliases(known[name])}


def _without_nothing(annotation: Any) -> Any:
    """Return an annotation without ``| None`` and without metadata."""
    if get_origin(annotation) is Annotated:
        return _without_nothing(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        rest = [each for each in get_args(annotation) if each is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def _is_undeclared(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is None:
        return any(annotation is each for each in _UNDECLARED)
    if inspect.isclass(origin) and issubclass(origin, dict):
        arguments = get_args(annotation)
        return not arguments or any(arguments[-1] is each for each in _UNDECLARED)
    if inspect.isclass(origin) and issubclass(origin, list | tuple | set):
        return any(_is_undeclared(each) for each in get_args(annotation))
    return False


def _text(annotation: Any) -> str:
    if inspect.isclass(annotation) and not get_args(annotation):
        return annotation.__name__
    return str(annotation).replace("typing.", "")[:120]
