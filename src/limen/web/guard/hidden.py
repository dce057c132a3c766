"""Declarations and principals where a framework does not look: below the top of an annotation.

FastAPI reads the outermost ``Annotated`` of a parameter only. What stands deeper, as in ``CurrentPrincipal | None``, it
drops, and reads the type beside it from the request: the caller would say who they are, or bring the very resource that
a policy was to be asked about. Such a route does not start, and nobody enters it.
"""

import dataclasses
import inspect
import sys
import typing
from collections.abc import Iterator
from typing import Annotated, Any, ForwardRef, Literal, get_args, get_origin

from limen.core.principal import Principal
from limen.guard.layers import layers
from limen.web.guard.declarations import Declaration, Enforcement
from limen.web.guard.wrapping import PrincipalMarker, resolved_signature

_FROM_REQUEST = ("path_params", "query_params", "header_params", "cookie_params", "body_params")
_PRINCIPAL = (
    "the parameter {} of {} asks for whoever is calling in a way that would read them from the request: write "
    "{}: CurrentPrincipal, with nothing around it; on a public route it may be the anonymous principal"
)
_DECLARATION = (
    "the parameter {} of {} has a declaration below the top of its annotation, where it would never be asked: write "
    "{}: Annotated[…, …] with the declaration in the outermost Annotated"
)


def hidden_in_dependant(dependant: Any) -> tuple[str, ...]:
    """Return what is wrong with the parameters of a FastAPI route and of everything it depends on.

    Args:
        dependant: the tree of dependencies that FastAPI built, the root being the endpoint's own.

    Returns:
        one sentence for each parameter that hides a declaration, or that FastAPI would make a principal of from the
        request.
    """
    found: list[str] = []
    waiting = [(dependant, "")]
    while waiting:
        node, above = waiting.pop()
        called = _called(node.call)
        found += hidden_in_signature(node.call)
        if above and inspect.isclass(node.call) and issubclass(node.call, Principal):
            found.append(_PRINCIPAL.format(node.name or called, above, node.name or "me"))
        for kind in _FROM_REQUEST:
            for field in getattr(node, kind):
                text = _text_for(field.field_info.annotation, _namespace(node.call), is_read=True)
                if text:
                    found.append(text.format(field.name, called, field.name))
        waiting.extend((each, called) for each in node.dependencies)
    return tuple(dict.fromkeys(found))


def hidden_in_signature(call: object) -> tuple[str, ...]:
    """Return what is wrong with the annotations of a function, or of the methods of a class view.

    Returns:
        one sentence for each parameter that hides a declaration or a principal.
    """
    found = []
    for layer in layers(call):
        try:
            parameters = resolved_signature(layer).parameters.values()  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        namespace = _namespace(layer)
        for each in parameters:
            text = _text_for(each.annotation, namespace, is_read=False)
            if text:
                found.append(text.format(each.name, _called(layer), each.name))
    return tuple(dict.fromkeys(found))


def hidden_in_endpoint(endpoint: object) -> tuple[str, ...]:
    """Return the same for an endpoint of Starlette's: a function, or a class view with all its methods."""
    if not inspect.isclass(endpoint):
        return hidden_in_signature(endpoint)
    methods = (each for _, each in inspect.getmembers(endpoint, inspect.isfunction))
    return tuple(text for each in methods for text in hidden_in_signature(each))


def _called(call: object) -> str:
    return str(getattr(call, "__qualname__", type(call).__qualname__))


def _namespace(call: Any) -> dict[str, Any]:
    # A wrapper of limen's stands in a module of limen's: the names are those of what it wraps.
    inner = inspect.unwrap(call) if callable(call) else call
    module = sys.modules.get(getattr(inner, "__module__", None) or "", typing)
    return dict(getattr(inner, "__globals__", None) or vars(module))


def _text_for(annotation: Any, namespace: dict[str, Any], *, is_read: bool) -> str:
    """Return the sentence for the first fault of an annotation; empty for none.

    Args:
        annotation: that of a parameter.
        namespace: where the names in it are looked up.
        is_read: its value comes from the request, so that it must not be a principal, whatever stands around it.
    """
    for each in _parts(annotation, namespace, top=True, into=is_read, seen={}):
        if isinstance(each, PrincipalMarker) or (is_read and inspect.isclass(each) and issubclass(each, Principal)):
            return _PRINCIPAL
        if isinstance(each, Declaration | Enforcement):
            return _DECLARATION
    return ""


def _parts(
    annotation: Any, namespace: dict[str, Any], *, top: bool, into: bool, seen: dict[int, object]
) -> Iterator[Any]:
    """Yield the metadata below the top of an annotation, and all classes in it.

    Args:
        annotation: what to look into.
        namespace: where the names in it are looked up.
        top: it is the parameter's own annotation, whose metadata the framework reads.
        into: look into the fields of models, too, which a request fills.
        seen: classes and aliases that were looked into, by identity; they may contain themselves.
    """
    if isinstance(annotation, str | ForwardRef):
        annotation = _evaluated(annotation, namespace)
    if get_origin(annotation) is Annotated:
        if not top:
            yield from _written(annotation.__metadata__)
        yield from _parts(annotation.__origin__, namespace, top=False, into=into, seen=seen)
        return
    if get_origin(annotation) is Literal or id(annotation) in seen:
        return
    # A `type` alias, a NewType, and a type variable stand for another type, which is what a request is read as.
    for name in ("__value__", "__supertype__", "__bound__"):
        meant = getattr(annotation, name, None) or getattr(get_origin(annotation), name, None)
        if meant is not None and not inspect.isclass(annotation):
            seen[id(annotation)] = annotation
            yield from _parts(meant, namespace, top=top, into=into, seen=seen)
    for each in annotation if isinstance(annotation, list) else get_args(annotation):
        yield from _parts(each, namespace, top=False, into=into, seen=seen)
    for kind in (annotation, get_origin(annotation)):
        if inspect.isclass(kind) and id(kind) not in seen:
            seen[id(kind)] = kind
            yield kind
            if into:
                yield from _parts_of_model(kind, seen)


def _parts_of_model(model: Any, seen: dict[int, object]) -> Iterator[Any]:
    """Yield the parts of what a pydantic model, a dataclass, a TypedDict or a named tuple consists of."""
    namespace = {**vars(sys.modules.get(model.__module__, typing))}
    told = getattr(model, "__pydantic_fields__", None)
    if isinstance(told, dict):
        for field in told.values():
            yield from _written(getattr(field, "metadata", ()))
            yield from _parts(field.annotation, namespace, top=False, into=True, seen=seen)
    elif dataclasses.is_dataclass(model) or hasattr(model, "__required_keys__") or hasattr(model, "_fields"):
        for base in model.__mro__:
            namespace.update(vars(sys.modules.get(base.__module__, typing)))
            for annotation in inspect.get_annotations(base).values():
                yield from _parts(annotation, namespace, top=False, into=True, seen=seen)


def _written(metadata: Any) -> Iterator[Any]:
    return (each for each in metadata if isinstance(each, Declaration | Enforcement | PrincipalMarker))


def _evaluated(annotation: str | ForwardRef, namespace: dict[str, Any]) -> Any:
    text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
    try:
        return eval(text, namespace)  # noqa: S307 - the application's own source text, as its framework evaluates it
    except Exception:
        return None
