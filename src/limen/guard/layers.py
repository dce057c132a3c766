"""What a handler wraps: restrictions that were stated on an inner function hold for what stands around it."""

import functools
import inspect
from collections.abc import Iterator


def layers(handler: object) -> Iterator[object]:
    """Yield the handler and, from the outside in, everything it wraps."""
    seen: set[int] = set()
    waiting: list[object] = [handler]
    while waiting:
        layer = waiting.pop()
        if layer is None or id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        if isinstance(layer, functools.partial):
            waiting.append(layer.func)
        elif inspect.ismethod(layer):
            waiting.append(layer.__func__)
        else:
            if not (inspect.isroutine(layer) or inspect.isclass(layer)):
                waiting.append(getattr(type(layer), "__call__", None))  # noqa: B004 - what a call of the object runs
            waiting.append(getattr(layer, "__wrapped__", None))
