"""The chain over the audit trail: a seal for each record, and the one row that says where the chain stands.

Adds only, and touches no table there is: records of before are sealed in the order of their numbers, and a process of
the version before goes on writing records, which a process of this one seals.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision: str | None = "0015"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the tables, and the one row."""
    op.create_table(
        "limen_trail",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("sealed_at", sa.BigInteger(), nullable=False),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("nonce", sa.LargeBinary(16)),
        sa.Column("details", sa.LargeBinary(32), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("link", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_limen_trail"),
        sa.UniqueConstraint("seq", name="uq_limen_trail_seq"),
    )
    op.create_table(
        "limen_trail_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("link", sa.LargeBinary(32)),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.Column("base_number", sa.BigInteger(), nullable=False),
        sa.Column("base_link", sa.LargeBinary(32)),
        sa.Column("base_kid", sa.String(16)),
        sa.Column("base_mac", sa.LargeBinary(32)),
        sa.Column("head_kid", sa.String(16)),
        sa.Column("head_mac", sa.LargeBinary(32)),
        sa.PrimaryKeyConstraint("id", name="pk_limen_trail_head"),
        sa.CheckConstraint("id = 1", name=op.f("ck_limen_trail_head_id")),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO limen_trail_head (id, number, floor, base_number) VALUES (1, 0, 0, 0)")
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0018')")
