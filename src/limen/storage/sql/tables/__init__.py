"""The schema, for SQLite and PostgreSQL alike. Times are milliseconds since 1970 UTC, stamped by the database's clock.

The migrations build it; a test compares what they build with what stands here. No statement of a request is made from
these objects, so that a process whose database is up to date never imports SQLAlchemy.
"""

from limen.storage.sql.tables import accounts, approvals, credentials, mails, sessions, sso, trail
from limen.storage.sql.tables.base import METADATA

__all__ = ["METADATA", "accounts", "approvals", "credentials", "mails", "sessions", "sso", "trail"]
