"""Passwords that an operator sets hold until their first use.

Adds only, so the version before goes on working; to it such a password is like any other.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the column; no password that is there is temporary."""
    op.add_column("limen_accounts", sa.Column("password_expires_at", sa.BigInteger()))
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0003')")
