"""The application by itself: ``uvicorn --factory examples.orders.main:application``."""

import os
from pathlib import Path

from fastapi import FastAPI

from limen import Limen

from .app import create_app  # noqa: TID252 - works under any name
from .database import Database  # noqa: TID252
from .models import Order  # noqa: TID252
from .policies import POLICIES  # noqa: TID252
from .roles import ROLES  # noqa: TID252


def application() -> FastAPI:
    """Make the application from the settings in the environment; ORDERS_DATABASE names its SQLite file."""
    store = Database(Path(os.environ.get("ORDERS_DATABASE", "orders.db")))
    gate = Limen.from_env(roles=ROLES, policies=POLICIES, policy_resources={Order: store.order})
    return create_app(gate, store)
