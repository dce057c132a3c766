"""SQLite with the sessions in Valkey against the contract of the stores."""

from tests.storage.test_contracts import *  # noqa: F403 - every suite there is, so that none is forgotten here
