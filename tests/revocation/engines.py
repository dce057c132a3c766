"""The engines on which the table is held, and an empty database of each."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

ENGINES: Final = ("sqlite", "postgresql", "valkey")
"""The last is PostgreSQL, with the sessions in Valkey."""


@contextmanager
def empty_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[dict[str, str]]:
    """Give the settings of an empty database of the engine that the fixture's parameter names."""
    if request.param == "sqlite":
        yield {"database_url": f"sqlite:///{folder / 'limen.db'}"}
        return
    stores = {"database_url": request.getfixturevalue("postgres_url")}
    if request.param == "valkey":
        stores |= {"session_store": "valkey", "valkey_url": request.getfixturevalue("valkey").url}
    yield stores
