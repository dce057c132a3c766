"""The validated body among the arguments that FastAPI hands to an endpoint."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from fastapi.dependencies.utils import get_dependant
from fastapi.encoders import jsonable_encoder
from starlette.requests import Request


class ValidatedBody:
    """Finds the arguments that came from the body, and makes plain JSON values of them.

    Args:
        endpoint: the function with the parameters.
    """

    def __init__(self, endpoint: Callable[..., Any]) -> None:
        self._endpoint = endpoint

    async def __call__(self, request: Request, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the body: that of a single object itself, anything else by the names of its parameters."""
        found = {name: jsonable_encoder(arguments[name]) for name in self._names if name in arguments}
        if len(found) == 1:
            (only,) = found.values()
            if isinstance(only, dict):
                return only
        return found

    @cached_property
    def _names(self) -> tuple[str, ...]:
        # When it is first asked: a model may be defined after the function that names it.
        fields = get_dependant(path="/", call=self._endpoint).body_params
        return tuple(field.name for field in fields)
