"""The application by itself: ``uvicorn --factory examples.orders.main:application``."""

import os
from pathlib import Path

from fastapi import FastAPI

from limen import Limen

from .app import create_app  # noqa: TID252 - works under any name
from .roles import ROLES  # noqa: TID252


def application() -> FastAPI:
    """Make the application from the settings in the environment; ORDERS_DATABASE names its SQLite file."""
    return create_app(Limen.from_env(roles=ROLES), Path(os.environ.get("ORDERS_DATABASE", "orders.db")))
