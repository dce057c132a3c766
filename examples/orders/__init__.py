"""Orders: makers create them, checkers approve them. An application of its own that limen guards.

It has its own models on its own database and knows limen by its public names only. `limen demo` runs it; to run it by
itself, with the settings of limen in the environment: ``uvicorn --factory examples.orders.main:application``.
"""

# ruff: noqa: TID252 - relative, so that the package works under any name: the wheel of limen carries it as well

from .app import create_app
from .database import Database
from .models import Order
from .policies import POLICIES
from .roles import ROLES

__all__ = ["POLICIES", "ROLES", "Database", "Order", "create_app"]
