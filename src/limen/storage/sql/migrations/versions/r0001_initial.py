"""Accounts, roles, sessions, the list of ended sessions, and events.

Written by hand and never changed again: it states the schema as it was, so it does not import what stands in the code.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

IDENTIFIER = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _accounts_and_roles()
    _sessions()
    op.create_table(
        "limen_events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("user_agent", sa.String(256), nullable=False),
        sa.Column("target", sa.String(128), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("data", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_limen_events"),
        sa.CheckConstraint("outcome IN ('success', 'failure')", name=op.f("ck_limen_events_outcome")),
        sqlite_autoincrement=True,
    )


def _accounts_and_roles() -> None:
    op.create_table(
        "limen_accounts",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("username", sa.String(64), nullable=False),
        sa.Column("email", sa.String(320)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("session_epoch", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("second_factor_required", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("roles_version", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_limen_accounts"),
        sa.UniqueConstraint("username", name="uq_limen_accounts_username"),
        sa.CheckConstraint("length(username) > 0", name=op.f("ck_limen_accounts_username")),
        sa.CheckConstraint("session_epoch >= 0", name=op.f("ck_limen_accounts_session_epoch")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "limen_roles",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_limen_roles"),
        sa.CheckConstraint("source IN ('code', 'database', 'retired')", name=op.f("ck_limen_roles_source")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "limen_role_permissions",
        sa.Column("role", sa.String(128), nullable=False),
        sa.Column("permission", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("role", "permission", name="pk_limen_role_permissions"),
        sa.ForeignKeyConstraint(
            ["role"], ["limen_roles.name"], name="fk_limen_role_permissions_role", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "limen_account_roles",
        sa.Column("account_id", IDENTIFIER, nullable=False),
        sa.Column("role", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "role", name="pk_limen_account_roles"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["limen_accounts.id"], name="fk_limen_account_roles_account_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["role"], ["limen_roles.name"], name="fk_limen_account_roles_role"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_account_roles_role", "limen_account_roles", ["role"])


def _sessions() -> None:
    op.create_table(
        "limen_sessions",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("account_id", IDENTIFIER, nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("parent_hash", sa.LargeBinary(32)),
        sa.Column("nonce", sa.LargeBinary(16)),
        sa.Column("kid", sa.String(16), nullable=False),
        sa.Column("rotated_at", sa.BigInteger(), nullable=False),
        sa.Column("idle_until", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("auth_time", sa.BigInteger(), nullable=False),
        sa.Column("amr", sa.String(128), nullable=False),
        sa.Column("acr", sa.String(128)),
        sa.Column("client_id", sa.String(128), nullable=False),
        sa.Column("cnf", sa.Text()),
        sa.Column("user_agent", sa.String(256), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_limen_sessions"),
        sa.ForeignKeyConstraint(
            ["account_id"], ["limen_accounts.id"], name="fk_limen_sessions_account_id", ondelete="CASCADE"
        ),
        sa.CheckConstraint("kind IN ('refresh', 'cookie')", name=op.f("ck_limen_sessions_kind")),
        sa.CheckConstraint("generation >= 0", name=op.f("ck_limen_sessions_generation")),
        sa.CheckConstraint("length(token_hash) = 32", name=op.f("ck_limen_sessions_token_hash")),
        sa.CheckConstraint(
            "(generation = 0 AND parent_hash IS NULL AND nonce IS NULL)"
            " OR (generation > 0 AND length(parent_hash) = 32 AND length(nonce) = 16)",
            name=op.f("ck_limen_sessions_parent"),
        ),
        sa.CheckConstraint("idle_until <= ends_at", name=op.f("ck_limen_sessions_ends")),
        sqlite_with_rowid=False,
    )
    if op.get_context().dialect.name == "postgresql":
        # Room on each page for the next version of a row: a refresh then touches no index.
        op.execute("ALTER TABLE limen_sessions SET (fillfactor = 85)")
    op.create_index("ix_limen_sessions_account_id", "limen_sessions", ["account_id"])
    op.create_table(
        "limen_ended_sessions",
        sa.Column("id", IDENTIFIER, nullable=False),
        sa.Column("account_id", IDENTIFIER, nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("keep_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_limen_ended_sessions"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_ended_sessions_ended_at", "limen_ended_sessions", ["ended_at"])
    op.create_index("ix_limen_ended_sessions_keep_until", "limen_ended_sessions", ["keep_until"])
