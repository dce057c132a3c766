"""What every test shares."""

import logging
from collections.abc import Iterator

import pytest

from limen.crypto import hashing_pool

pytest_plugins = ["pytester", "tests.plugins.lacking", "tests.plugins.postgres", "tests.plugins.valkey"]

# At the lowest priority a hash waits for as long as other tests keep the cores busy, and who waits for it times out.
hashing_pool._NICENESS = 0  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    """Leave the level of limen's log as it was: a command that runs within a test sets it for its whole process."""
    logger = logging.getLogger("limen")
    level = logger.level
    yield
    logger.setLevel(level)
