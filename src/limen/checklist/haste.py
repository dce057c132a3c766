"""Makes an import in the child process cheaper, without a difference that an application could tell.

FastAPI asks for the signature of a dependency at each route that has it, and at each inclusion of a router: of fifty
functions, ten thousand times. And Python's collector of cycles goes through all that an import has made, over and over,
though nearly all of it stays.
"""

import gc
import inspect
import types
from collections.abc import Callable
from typing import Any, Final, ForwardRef

_RARELY: Final = (1_000_000, 50, 100)
"""After how many new objects the collector looks. Garbage is still bounded, and most imports make less."""


def collect_rarely() -> None:
    """Let the collector of cycles look once in a million objects, not once in 700."""
    gc.set_threshold(*_RARELY)


def remember_signatures() -> None:
    """Let `inspect.signature` remember what it told of a plain function, until something about the function changes."""
    inspect.signature = _remembering(inspect.signature)


def _remembering(real: Callable[..., inspect.Signature]) -> Callable[..., inspect.Signature]:
    known: dict[tuple[object, ...], tuple[tuple[object, ...], inspect.Signature]] = {}

    def signature(obj: Any, **options: Any) -> inspect.Signature:
        # What a wrapper wraps may change without it, and what states its own signature says something else next time.
        if type(obj) is not types.FunctionType or obj.__dict__:
            return real(obj, **options)
        key = (obj, *options.items())
        state = (obj.__code__, obj.__defaults__, obj.__kwdefaults__, *obj.__annotations__.values())
        try:
            found = known.get(key)
        except TypeError:  # an option that is no key, such as a dict of globals
            return real(obj, **options)
        if found is not None and _are_the_same(found[0], state):
            return found[1]
        told = real(obj, **options)
        if _is_resolved(told):
            known[key] = (state, told)
        return told

    return signature


def _are_the_same(before: tuple[object, ...], after: tuple[object, ...]) -> bool:
    return len(before) == len(after) and all(each is other for each, other in zip(before, after, strict=True))


def _is_resolved(told: inspect.Signature) -> bool:
    """Tell whether no annotation is still a text: what it names may be defined later."""
    annotations = [told.return_annotation, *(each.annotation for each in told.parameters.values())]
    return not any(isinstance(each, str | ForwardRef) for each in annotations)
