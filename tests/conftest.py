"""What every test shares."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from limen.crypto import hashing_pool

pytest_plugins = ["pytester", "tests.plugins.lacking", "tests.plugins.postgres", "tests.plugins.valkey"]

# At the lowest priority a hash waits for as long as other tests keep the cores busy, and who waits for it times out.
hashing_pool._NICENESS = 0  # type: ignore[misc]

# No example fails because the machine stood still for a fifth of a second while it was tried, or made.
settings.register_profile("limen", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("limen")


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """Leave limen's log as it was: a command that runs within a test sets it up for its whole process."""
    logger = logging.getLogger("limen")
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.propagate, logger.handlers[:] = propagate, handlers
