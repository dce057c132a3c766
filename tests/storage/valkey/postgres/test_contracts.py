"""PostgreSQL with the sessions in Valkey against the contract of the stores: whatever has to do with sessions.

The other suites run on SQLite with Valkey, and on PostgreSQL without.
"""

from tests.storage.test_contracts import (  # noqa: F401 - they are the tests
    TestAssignRoles,
    TestChangePassword,
    TestChangeStatus,
    TestCookies,
    TestDelete,
    TestGrants,
    TestOpen,
    TestOpenBound,
    TestRenew,
    TestRestoring,
    TestRotate,
    TestRotateAgainstEnding,
    TestSessionCap,
    TestSessions,
    TestStorage,
)
