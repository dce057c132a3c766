"""What an included router adds to its routes, put together without what only a request needs.

Newer FastAPI makes the routes of an included router anew: with validators, handlers and patterns, and with every
dependency's parameters read again. That takes as long as the import. Who stands in front of a route is in the route as
it was written, and in what its inclusion says; only where an inclusion makes parameters of the path out of others (a
prefix with ``{…}``), and for all that is no route of FastAPI's own, FastAPI is asked.
"""

import copy
import functools
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from fastapi.dependencies.utils import get_parameterless_sub_dependant
from fastapi.routing import APIRoute
from fastapi.utils import get_value_or_default

_SAID: Final = frozenset(
    {
        *("included_router", "prefix", "tags", "dependencies", "default_response_class", "responses", "callbacks"),
        *("deprecated", "include_in_schema", "generate_unique_id_function", "strict_content_type"),
        *("dependency_overrides_provider", "max_body_size", "form_limits"),
    }
)
"""What an inclusion can say, as far as it is known here. A FastAPI in which it says more is asked itself."""


@dataclass(frozen=True, slots=True)
class Included:
    """A route as it is where it was included. What is not named here is as the route itself has it.

    Attributes:
        original_route: as it was written.
        path: with the prefixes of the inclusions.
        dependant: with the dependencies of the inclusions before its own.
        response_class: its own, or the nearest default.
        include_in_schema: whether the pages of the schema tell of it.
        starlette_route: None; it is FastAPI's.
    """

    original_route: Any
    path: str
    dependant: Any
    response_class: Any
    include_in_schema: bool
    starlette_route: None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original_route, name)


def candidates(included: Any) -> Iterator[Any]:
    """Yield what FastAPI's ``effective_candidates`` has: routes as they are there, and routers that are included in it.

    Args:
        included: what FastAPI keeps of an inclusion.
    """
    context: Any = getattr(included, "include_context", None)
    if not _is_known(context) or not all(_is_plain(route, included) for route in included.original_router.routes):
        yield from included.effective_candidates()
        return
    added = _Added(context.dependencies)
    for route in included.original_router.routes:
        if isinstance(route, type(included)):
            yield type(included)(route.original_router, context.combine(route.include_context))
        else:
            yield _included(route, context, added)


def _is_known(context: Any) -> bool:
    is_told = is_dataclass(context) and {each.name for each in fields(context)} <= _SAID
    return is_told and "{" not in getattr(context, "prefix", "{")


def _is_plain(route: object, included: object) -> bool:
    return isinstance(route, APIRoute | type(included))


def _included(route: Any, context: Any, added: "_Added") -> Included:
    dependant = copy.copy(route.dependant)
    dependant.dependencies = [*added.to(route), *route.dependant.dependencies]
    response_class = get_value_or_default(
        route.response_class, context.included_router.default_response_class, context.default_response_class
    )
    is_told = route.include_in_schema and context.include_in_schema
    return Included(route, context.path_for(route), dependant, response_class, is_told)


class _Added:
    """The dependencies of an inclusion, read once for each set of parameters in a path."""

    def __init__(self, dependencies: list[Any]) -> None:
        self._dependencies = dependencies

    def to(self, route: Any) -> tuple[Any, ...]:
        """Return them as they are in front of a route."""
        names = sorted(route.param_convertors)
        return tuple(_read(_Same(each), "/".join(f"{{{name}}}" for name in names)) for each in self._dependencies)


@dataclass(frozen=True, slots=True)
class _Same:
    """A dependency that is the same one where it is the same object."""

    depends: Any

    def __hash__(self) -> int:
        return id(self.depends)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.depends is self.depends


@functools.cache
def _read(same: _Same, path: str) -> Any:
    return get_parameterless_sub_dependant(depends=same.depends, path=path)
