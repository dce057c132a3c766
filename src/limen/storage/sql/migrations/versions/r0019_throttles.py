"""How often something was tried.

Adds only, so the version before goes on working; it counts nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision: str | None = "0016"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "limen_throttles",
        sa.Column("bucket", sa.String(64), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("window_ms", sa.BigInteger(), nullable=False),
        sa.Column("renewed", sa.Integer(), nullable=False),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", name="pk_limen_throttles"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_throttles_ends_at", "limen_throttles", ["ends_at"])
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0019')")
