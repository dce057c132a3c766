"""Logins at providers."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, LargeBinary, String, Table, Text

from limen.storage.sql.tables.base import IDENTIFIER, METADATA

# A login at a provider that is under way. What the browser holds is kept as its hash only, and the secrets of the flow
# (PKCE's verifier, the nonce) are derived from it: whoever reads this row can end no login.
SSO_FLOWS = Table(
    "limen_sso_flows",
    METADATA,
    Column("state_hash", LargeBinary(32), primary_key=True),
    Column("browser_hash", LargeBinary(32), nullable=False),
    Column("provider", String(32), nullable=False),
    Column("issuer", String(255), nullable=False),
    Column("next_url", String(1024), nullable=False),
    Column("challenge", String(64)),
    # Of the account that the identity is to be linked to, and the session in which that was begun; no foreign keys: the
    # link asks for both anyway.
    Column("account_id", IDENTIFIER),
    Column("account_epoch", Integer),
    Column("session_id", IDENTIFIER),
    Column("expires_at", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

SSO_CODES = Table(
    "limen_sso_codes",
    METADATA,
    Column("code_hash", LargeBinary(32), primary_key=True),
    Column("issuer", String(255), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("account_id", IDENTIFIER, nullable=False),
    Column("account_epoch", Integer, nullable=False),
    Column("challenge", String(64), nullable=False),
    Column("content", Text, nullable=False),
    Column("hint", LargeBinary),
    Column("expires_at", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# Who somebody is at a provider: issuer and subject, byte by byte, and nothing else (OpenID Connect Core, section 5.7).
SSO_IDENTITIES = Table(
    "limen_sso_identities",
    METADATA,
    Column("issuer", String(255), primary_key=True),
    Column("subject", String(255), primary_key=True),
    # By which its holder names it; the subject is not shown.
    Column("id", IDENTIFIER, nullable=False),
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("provider", String(32), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # From inside the account, by who had its password; otherwise the account came about by it. NULL in old rows.
    Column("was_linked", Boolean),
    sqlite_with_rowid=False,
)

# Goes with its session.
SSO_SESSIONS = Table(
    "limen_sso_sessions",
    METADATA,
    Column("session_id", IDENTIFIER, ForeignKey("limen_sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("provider", String(32), nullable=False),
    Column("issuer", String(255), nullable=False),
    Column("subject", String(255), nullable=False, index=True),
    Column("provider_sid", String(255), index=True),
    # The ID token, sealed (`limen.crypto.sealing`): the provider asks for it at the logout.
    Column("hint", LargeBinary),
    sqlite_with_rowid=False,
)

# Logout tokens that were used: each counts once.
SSO_LOGOUTS = Table(
    "limen_sso_logouts",
    METADATA,
    Column("token_id", LargeBinary(32), primary_key=True),
    Column("keep_until", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# What was linked to an account once: what such an identity asks for is still that person's.
FORMER_IDENTITIES = Table(
    "limen_former_identities",
    METADATA,
    Column("issuer", String(255), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("unlinked_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
