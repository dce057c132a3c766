"""The engines on which the table is held, and an empty database of each."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

ENGINES: Final = ("sqlite", "postgresql")


@contextmanager
def empty_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database of the engine that the fixture's parameter names."""
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'limen.db'}"
    else:
        yield request.getfixturevalue("postgres_url")
