"""Messages whose work was begun, so that each is handled at most once.

Adds only, so the version before goes on working.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision: str | None = "0010"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "limen_seen_messages",
        sa.Column("jti", sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite"), nullable=False),
        sa.Column("consumer", sa.String(128), nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger()),
        sa.Column("keep_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("jti", "consumer", name="pk_limen_seen_messages"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_seen_messages_keep_until", "limen_seen_messages", ["keep_until"])
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0011')")
