"""What every test shares."""

import logging
from collections.abc import Iterator

import pytest

pytest_plugins = ["pytester", "tests.plugins.lacking", "tests.plugins.postgres", "tests.plugins.valkey"]


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    """Leave the level of limen's log as it was: a command that runs within a test sets it for its whole process."""
    logger = logging.getLogger("limen")
    level = logger.level
    yield
    logger.setLevel(level)
