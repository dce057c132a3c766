"""limen: authentication and authorization for Python services.

The names here are the public ones; everything else may change. No web framework is imported: `limen.fastapi` and
`limen.starlette` do that.
"""

from limen.core.decision import Decision
from limen.core.errors import Conflict, Forbidden, InvalidInput, LimenError, NotFound, Unauthenticated
from limen.core.principal import Principal
from limen.settings import Settings
from limen.wiring import Limen

__all__ = [
    "Conflict",
    "Decision",
    "Forbidden",
    "InvalidInput",
    "Limen",
    "LimenError",
    "NotFound",
    "Principal",
    "Settings",
    "Unauthenticated",
]
