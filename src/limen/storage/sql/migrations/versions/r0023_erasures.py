"""Deleted accounts of which the audit trail still has details: one row each until these are erased.

Adds only: a process of the version before leaves the details where they are, and does not look here.
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision: str | None = "0024"
branch_labels: str | None = None
depends_on: str | None = None

IDENTIFIER = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "limen_erasures",
        sa.Column("account_id", IDENTIFIER, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_limen_erasures"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0023')")
