"""Single sign-on: logins under way, identities, one-time codes, and which sessions a provider vouched for.

Adds only, so the version before goes on working.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the tables, and an index by which a verified address finds the account that has it."""
    identifier = sa.Uuid(as_uuid=False).with_variant(sa.String(36), "sqlite")
    op.create_table(
        "limen_sso_flows",
        sa.Column("state_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("browser_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("next_url", sa.String(1024), nullable=False),
        sa.Column("challenge", sa.String(64)),
        sa.Column("account_id", identifier),
        sa.Column("account_epoch", sa.Integer()),
        sa.Column("session_id", identifier),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("state_hash", name="pk_limen_sso_flows"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_sso_flows_expires_at", "limen_sso_flows", ["expires_at"])
    op.create_table(
        "limen_sso_codes",
        sa.Column("code_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("account_id", identifier, nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("challenge", sa.String(64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("hint", sa.LargeBinary()),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code_hash", name="pk_limen_sso_codes"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_sso_codes_expires_at", "limen_sso_codes", ["expires_at"])
    op.create_table(
        "limen_sso_identities",
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("id", identifier, nullable=False),
        sa.Column("account_id", identifier, nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["limen_accounts.id"], name="fk_limen_sso_identities_account_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_limen_sso_identities"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_sso_identities_account_id", "limen_sso_identities", ["account_id"])
    op.create_table(
        "limen_sso_sessions",
        sa.Column("session_id", identifier, nullable=False),
        sa.Column("provider", sa.String(32), nullable=False),
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("provider_sid", sa.String(255)),
        sa.Column("hint", sa.LargeBinary()),
        sa.ForeignKeyConstraint(
            ["session_id"], ["limen_sessions.id"], name="fk_limen_sso_sessions_session_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("session_id", name="pk_limen_sso_sessions"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_sso_sessions_subject", "limen_sso_sessions", ["subject"])
    op.create_index("ix_limen_sso_sessions_provider_sid", "limen_sso_sessions", ["provider_sid"])
    op.create_table(
        "limen_sso_logouts",
        sa.Column("token_id", sa.LargeBinary(32), nullable=False),
        sa.Column("keep_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_id", name="pk_limen_sso_logouts"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_limen_sso_logouts_keep_until", "limen_sso_logouts", ["keep_until"])
    op.create_index("ix_limen_accounts_email", "limen_accounts", ["email"])
    op.execute("INSERT INTO limen_schema_compatible (revision) VALUES ('0008')")
