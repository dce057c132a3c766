"""The guard in front of an ASGI application: it decides at dispatch, on the very leaf that runs.

Two positions. `OuterGuard` is middleware: it finds out who is calling, and seals the answer. `InnerGuard` stands where
a router hands over to a route, and decides there. Between them lies one mutable `GuardState` in the scope, which
survives every copy that other middleware makes of the scope. `protect` puts both into an application.
"""

from limen.web.guard.protection import Protection, protect
from limen.web.guard.state import Gate, GuardState

__all__ = ["Gate", "GuardState", "Protection", "protect"]
