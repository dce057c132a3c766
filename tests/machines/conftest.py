"""The place where approvals are asked for and decided, on both engines."""

from tests.approvals.conftest import clock, database_url, place

__all__ = ["clock", "database_url", "place"]
