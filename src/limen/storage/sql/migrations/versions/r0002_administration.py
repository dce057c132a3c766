"""Roles that extend roles, the version of the catalogue, and which accounts changed their roles lately.

Adds only, so the version before goes on working. On PostgreSQL names are compared byte by byte from here on.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

IDENTIFIER = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")


def upgrade() -> None:
    """Make the tables, and the one row of the catalogue."""
    op.create_table(
        "limen_role_extensions",
        sa.Column("role", sa.String(128), nullable=False),
        sa.Column("extends", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("role", "extends", name="pk_limen_role_extensions"),
        sa.ForeignKeyConstraint(
            ["role"], ["limen_roles.name"], name="fk_limen_role_extensions_role", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["extends"], ["limen_roles.name"], name="fk_limen_role_extensions_extends"),
        sa.CheckConstraint("role <> extends", name=op.f("ck_limen_role_extensions_extends")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_role_extensions_extends", "limen_role_extensions", ["extends"])
    op.create_table(
        "limen_catalogue",
        sa.Column("id", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_limen_catalogue"),
        sa.CheckConstraint("id = 1", name=op.f("ck_limen_catalogue_id")),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO limen_catalogue (id, version) VALUES (1, 0)")
    op.create_table(
        "limen_changed_roles",
        sa.Column("account_id", IDENTIFIER, nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("keep_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_limen_changed_roles"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_changed_roles_changed_at", "limen_changed_roles", ["changed_at"])
    op.create_index("ix_limen_changed_roles_keep_until", "limen_changed_roles", ["keep_until"])
    # The code of which revision works with this schema as it is: a later one adds itself, and may take others away.
    op.create_table(
        "limen_schema_compatible",
        sa.Column("revision", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_limen_schema_compatible"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0001'), ('0002')")
    if op.get_context().dialect.name == "postgresql":
        op.execute('ALTER TABLE limen_accounts ALTER COLUMN username TYPE varchar(64) COLLATE "C"')
