"""PostgreSQL against the contract of the stores: the suites of SQLite, with the fixtures of this ``conftest.py``."""

from tests.storage.test_contracts import *  # noqa: F403 - every suite there is, so that none is forgotten here
