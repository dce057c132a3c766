"""The schema, for SQLite and PostgreSQL alike. Times are milliseconds since 1970 UTC, stamped by the database's clock.

The migrations build it; a test compares what they build with what stands here. No statement of a request is made from
these objects, so that a process whose database is up to date never imports SQLAlchemy.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

IDENTIFIER = Uuid(as_uuid=False).with_variant(String(36), "sqlite")
"""A UUID: 36 characters where the engine has no type for it."""

JSON_VALUE = JSON().with_variant(JSONB(), "postgresql")
SEQUENCE = BigInteger().with_variant(Integer(), "sqlite")


def _expiry_of(table: str) -> list[Index]:
    """Return the index by which what has ended is swept: of what ends at all, which is little."""
    ends = text("expires_at IS NOT NULL")
    return [Index(f"ix_{table}_expires_at", "expires_at", sqlite_where=ends, postgresql_where=ends)]


ACCOUNTS = Table(
    "limen_accounts",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    # Compared byte by byte on PostgreSQL as on SQLite: what lists by name pages by name, whatever the locale.
    Column("username", String(64).with_variant(String(64, collation="C"), "postgresql"), nullable=False, unique=True),
    # Not unique: an address that nobody verified proves nothing, and a refusal would reveal who is registered.
    Column("email", String(320), index=True),
    # No list of states: a state that a later version adds must be readable, and count as «not active».
    Column("status", String(16), nullable=False),
    Column("password_hash", Text),
    Column("session_epoch", Integer, nullable=False, server_default=text("0")),
    Column("second_factor_required", Boolean(create_constraint=False), nullable=False, server_default=false()),
    Column("roles_version", Integer, nullable=False, server_default=text("0")),
    Column("created_at", BigInteger, nullable=False),
    # Of a password that an operator set: it opens nothing but the way to one of the account's own, and only until then.
    Column("password_expires_at", BigInteger),
    # «person» or «service»; no login opens a session for a service.
    Column("account_kind", String(16), nullable=False, server_default="person"),
    CheckConstraint("length(username) > 0", name="username"),
    CheckConstraint("session_epoch >= 0", name="session_epoch"),
    sqlite_with_rowid=False,
)

ROLES = Table(
    "limen_roles",
    METADATA,
    Column("name", String(128), primary_key=True),
    # «retired»: the code no longer declares it, accounts still hold it. It gives nothing until it is declared again.
    Column("source", String(16), nullable=False),
    CheckConstraint("source IN ('code', 'database', 'retired')", name="source"),
    sqlite_with_rowid=False,
)

ROLE_PERMISSIONS = Table(
    "limen_role_permissions",
    METADATA,
    Column("role", String(128), ForeignKey("limen_roles.name", ondelete="CASCADE"), primary_key=True),
    Column("permission", String(256), primary_key=True),
    sqlite_with_rowid=False,
)

ROLE_EXTENSIONS = Table(
    "limen_role_extensions",
    METADATA,
    Column("role", String(128), ForeignKey("limen_roles.name", ondelete="CASCADE"), primary_key=True),
    # The role whose permissions it has as well. It cannot go while another extends it.
    Column("extends", String(128), ForeignKey("limen_roles.name"), primary_key=True, index=True),
    CheckConstraint("role <> extends", name="extends"),
    sqlite_with_rowid=False,
)

# One row. Whoever changes what a role means raises the version it has seen, so that two who change at once are told
# apart; whoever might take away the last administrator locks it. Every process reads the roles anew when it differs.
CATALOGUE = Table(
    "limen_catalogue",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="id"),
    sqlite_with_rowid=False,
)

ACCOUNT_ROLES = Table(
    "limen_account_roles",
    METADATA,
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(128), ForeignKey("limen_roles.name"), primary_key=True, index=True),
    # Until when it is held; NULL for good.
    Column("expires_at", BigInteger),
    *_expiry_of("limen_account_roles"),
    sqlite_with_rowid=False,
)

# What an account may beside what its roles give.
ACCOUNT_PERMISSIONS = Table(
    "limen_account_permissions",
    METADATA,
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("permission", String(256), primary_key=True),
    Column("expires_at", BigInteger),
    *_expiry_of("limen_account_permissions"),
    sqlite_with_rowid=False,
)

# Pairs of roles that nobody may hold at once, the names in their order. No foreign keys: what the code has separated
# stays so while one of the two is not declared.
SEPARATED_ROLES = Table(
    "limen_separated_roles",
    METADATA,
    Column("role", String(128), primary_key=True),
    Column("other", String(128), primary_key=True),
    CheckConstraint("role <> other", name="other"),
    sqlite_with_rowid=False,
)

# On PostgreSQL its pages are left some room (fillfactor 70, by a migration), so that a rotation stays on its page.
SESSIONS = Table(
    "limen_sessions",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("account_epoch", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("token_hash", LargeBinary(32), nullable=False),
    Column("parent_hash", LargeBinary(32)),
    Column("nonce", LargeBinary(16)),
    Column("kid", String(16), nullable=False),
    # No index on what a rotation changes: on PostgreSQL each refresh would then rewrite every index (no HOT update).
    # None on ends_at either: the sweep walks the primary key, since most rows end by idleness, long before.
    Column("rotated_at", BigInteger, nullable=False),
    Column("idle_until", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("auth_time", BigInteger, nullable=False),
    # Method references (RFC 8176), separated by spaces.
    Column("amr", String(128), nullable=False),
    Column("acr", String(128)),
    Column("client_id", String(128), nullable=False),
    Column("cnf", Text),
    Column("user_agent", String(256), nullable=False),
    Column("address", String(64), nullable=False),
    CheckConstraint("kind IN ('refresh', 'cookie')", name="kind"),
    CheckConstraint("generation >= 0", name="generation"),
    CheckConstraint("length(token_hash) = 32", name="token_hash"),
    CheckConstraint(
        "(generation = 0 AND parent_hash IS NULL AND nonce IS NULL)"
        " OR (generation > 0 AND length(parent_hash) = 32 AND length(nonce) = 16)",
        name="parent",
    ),
    CheckConstraint("idle_until <= ends_at", name="ends"),
    sqlite_with_rowid=False,
)

ENDED_SESSIONS = Table(
    "limen_ended_sessions",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    # No foreign key: what is listed here must outlive the account it belonged to.
    Column("account_id", IDENTIFIER, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("ended_at", BigInteger, nullable=False, index=True),
    Column("keep_until", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# Which roles an account holds now, kept while an access token with other ones may be alive. A token whose roles are not
# exactly these is stale: no times are compared, so a refresh that is under way cannot slip through.
CHANGED_ROLES = Table(
    "limen_changed_roles",
    METADATA,
    # No foreign key: what is listed here must outlive the account.
    Column("account_id", IDENTIFIER, primary_key=True),
    Column("roles", Text, nullable=False),
    Column("changed_at", BigInteger, nullable=False, index=True),
    Column("keep_until", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# The indexes say that of each algorithm one key signs and one is published, at most, whoever comes at the same time.
SIGNING_KEYS = Table(
    "limen_signing_keys",
    METADATA,
    # The thumbprint of the public half (RFC 7638).
    Column("kid", String(64), primary_key=True),
    Column("alg", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("public_jwk", Text, nullable=False),
    # Sealed (`limen.crypto.sealing`), and gone as soon as the key signs no more.
    Column("private_key", LargeBinary),
    # Nothing, sealed for this key: whoever can write here, and does not know the data secrets, cannot add a key.
    Column("proof", LargeBinary, nullable=False),
    Column("published_at", BigInteger, nullable=False),
    Column("signs_at", BigInteger),
    Column("stopped_at", BigInteger),
    Column("keep_until", BigInteger),
    CheckConstraint(
        "(state IN ('published', 'signing') AND private_key IS NOT NULL)"
        " OR (state IN ('retiring', 'retired') AND private_key IS NULL AND keep_until IS NOT NULL)",
        name="state",
    ),
    *(
        Index(
            f"uq_limen_signing_keys_{state}",
            "alg",
            unique=True,
            sqlite_where=text(f"state = '{state}'"),
            postgresql_where=text(f"state = '{state}'"),
        )
        for state in ("published", "signing")
    ),
    sqlite_with_rowid=False,
)

API_KEYS = Table(
    "limen_api_keys",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(128), nullable=False),
    # Which data secret the hash was made under, so that keys survive its replacement.
    Column("kid", String(16), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False),
    # The secret before the last rotation, accepted until then.
    Column("previous_kid", String(16)),
    Column("previous_hash", LargeBinary(32)),
    Column("overlap_until", BigInteger),
    Column("rotations", Integer, nullable=False, server_default=text("0")),
    # JSON arrays; NULL: whatever the owner may, and from everywhere.
    Column("scopes", Text),
    Column("networks", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("rotated_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("created_by", String(64), nullable=False),
    # It came back with a restored database, and may have been revoked since the backup.
    Column("unconfirmed_since", BigInteger),
    CheckConstraint("length(secret_hash) = 32", name="secret_hash"),
    CheckConstraint(
        "(previous_kid IS NULL AND previous_hash IS NULL AND overlap_until IS NULL)"
        " OR (previous_kid IS NOT NULL AND length(previous_hash) = 32 AND overlap_until IS NOT NULL)",
        name="previous",
    ),
    sqlite_with_rowid=False,
)

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

CLIENT_CERTIFICATES = Table(
    "limen_client_certificates",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    # One service's and nobody else's: what is proved by a certificate must not be a choice.
    Column("name", String(1100), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(64), nullable=False),
    sqlite_with_rowid=False,
)

# Messages whose work was begun, of each consumer: a token of a message counts once.
SEEN_MESSAGES = Table(
    "limen_seen_messages",
    METADATA,
    Column("jti", IDENTIFIER, primary_key=True),
    Column("consumer", String(128), primary_key=True),
    Column("begun_at", BigInteger, nullable=False),
    Column("done_at", BigInteger),
    Column("keep_until", BigInteger, nullable=False, index=True),
    sqlite_with_rowid=False,
)

# A request that takes others' yes. What it asks for never changes: to ask for something else is another row.
APPROVALS = Table(
    "limen_approvals",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("action", String(256), nullable=False),
    Column("resource", String(256)),
    # Canonical JSON, and its SHA-256.
    Column("payload", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("version", String(128)),
    Column("quorum", Integer, nullable=False),
    Column("given", Integer, nullable=False, server_default=text("0")),
    Column("status", String(16), nullable=False),
    # The principal's sub, which may be of another issuer; the account that it belonged to when it asked; and by what
    # others are found to be the same person later.
    Column("maker_id", String(64), nullable=False, index=True),
    Column("maker_account", IDENTIFIER),
    Column("maker_issuer", String(255)),
    Column("maker_subject", String(255)),
    Column("maker_sid", IDENTIFIER),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("decided_at", BigInteger),
    Column("decided_by", String(64)),
    Column("reason", String(500)),
    # The outbox: «queued» until it is done or given up; NULL where there is nothing to do, or nothing yet.
    Column("execution", String(16)),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_at", BigInteger),
    Column("lease", IDENTIFIER),
    Column("failure", String(64)),
    CheckConstraint("length(digest) = 32", name="digest"),
    CheckConstraint("quorum >= 1 AND given >= 0 AND given <= quorum", name="quorum"),
    CheckConstraint("(status = 'pending') = (decided_at IS NULL)", name="decided"),
    # Of two who ask for the same thing at once one does.
    Index(
        "uq_limen_approvals_pending",
        "action",
        "resource",
        unique=True,
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    Index(
        "ix_limen_approvals_expires_at",
        "expires_at",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
    Index(
        "ix_limen_approvals_next_at",
        "next_at",
        sqlite_where=text("execution = 'queued'"),
        postgresql_where=text("execution = 'queued'"),
    ),
    Index("ix_limen_approvals_decided_at", "decided_at"),
    sqlite_with_rowid=False,
)

# Each yes; an account counts once, by whichever of its sessions and identities.
APPROVAL_VOTES = Table(
    "limen_approval_votes",
    METADATA,
    Column("request_id", IDENTIFIER, ForeignKey("limen_approvals.id", ondelete="CASCADE"), primary_key=True),
    Column("approver_id", IDENTIFIER, primary_key=True),
    Column("sid", IDENTIFIER, nullable=False),
    Column("approved_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Who has had a credential in hand besides whoever made it: a key that they rotated, a certificate that is registered no
# more, a session by a certificate. No foreign keys: it stays when those go.
CREDENTIAL_HANDS = Table(
    "limen_credential_hands",
    METADATA,
    Column("credential_id", IDENTIFIER, primary_key=True),
    Column("held_by", String(64), primary_key=True),
    Column("since", BigInteger, nullable=False, index=True),
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

# The outbox of mails. Once one is sent or given up, whom it was for and what it said are gone from its row.
MAILS = Table(
    "limen_mails",
    METADATA,
    Column("id", IDENTIFIER, primary_key=True),
    Column("kind", String(64), nullable=False),
    # NULL while nobody has looked up whose address it is.
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), index=True),
    # Both as they were when it was asked for: a link is made only where they still are.
    Column("account_epoch", Integer),
    Column("roles_version", Integer),
    Column("recipient", String(254), nullable=False),
    Column("data", Text, nullable=False),
    # The proof that it carries, encrypted for this row.
    Column("sealed", LargeBinary),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("next_at", BigInteger),
    Column("done_at", BigInteger, index=True),
    Column("lease", IDENTIFIER),
    Column("failure", String(64)),
    Index(
        "ix_limen_mails_recipient",
        "recipient",
        sqlite_where=text("status = 'queued'"),
        postgresql_where=text("status = 'queued'"),
    ),
    Index(
        "ix_limen_mails_next_at",
        "next_at",
        sqlite_where=text("status = 'queued'"),
        postgresql_where=text("status = 'queued'"),
    ),
    sqlite_with_rowid=False,
)

# What a mailed link proves. One for an account and a purpose: a newer one takes the place of the one before.
MAIL_PROOFS = Table(
    "limen_mail_proofs",
    METADATA,
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("purpose", String(16), primary_key=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("email", String(254), nullable=False),
    Column("account_epoch", Integer, nullable=False),
    # Of a link that an administrator had sent: it ends where the account's roles are changed.
    Column("roles_version", Integer),
    Column("expires_at", BigInteger, nullable=False, index=True),
    CheckConstraint("length(token_hash) = 32", name="token_hash"),
    sqlite_with_rowid=False,
)

# Whose an address is was proved by a mail to it. An account's address counts as verified where it stands here for it.
VERIFIED_EMAILS = Table(
    "limen_verified_emails",
    METADATA,
    Column("email", String(254), primary_key=True),
    Column("account_id", IDENTIFIER, ForeignKey("limen_accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("verified_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# How often something was tried. The name of a bucket is an HMAC: neither who nor from where can be read from it.
THROTTLES = Table(
    "limen_throttles",
    METADATA,
    Column("bucket", String(64), primary_key=True),
    Column("most", Integer, nullable=False),
    Column("window_ms", BigInteger, nullable=False),
    Column("renewed", Integer, nullable=False),
    Column("taken", Integer, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Index("ix_limen_throttles_ends_at", "ends_at"),
    sqlite_with_rowid=False,
)

# Deleted accounts of which the audit trail still has details.
ERASURES = Table(
    "limen_erasures",
    METADATA,
    # No foreign key: it is about what is no account any more.
    Column("account_id", IDENTIFIER, primary_key=True),
    Column("actor", String(64), nullable=False),
    Column("requested_at", BigInteger, nullable=False),
    # Until then one process works on it.
    Column("lease_until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# The code of which revision works with the schema as it is (`limen.storage.sql.migrations`).
SCHEMA_COMPATIBLE = Table(
    "limen_schema_compatible",
    METADATA,
    Column("revision", String(32), primary_key=True),
    sqlite_with_rowid=False,
)

EVENTS = Table(
    "limen_events",
    METADATA,
    # Never used twice, so that a record that was cut off at the end leaves a gap that can be seen.
    Column("seq", SEQUENCE, primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("event", String(64), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("source", String(64), nullable=False),
    Column("user_agent", String(256), nullable=False),
    Column("target", String(128), nullable=False),
    Column("request_id", String(128), nullable=False),
    Column("data", JSON_VALUE, nullable=False),
    CheckConstraint("outcome IN ('success', 'failure')", name="outcome"),
    sqlite_autoincrement=True,
)

# What holds each record of the trail in its place. No foreign key: a record that goes leaves its seal behind, by which
# it is missed.
TRAIL = Table(
    "limen_trail",
    METADATA,
    # The sealer's own count, which has no gaps.
    Column("number", SEQUENCE, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("sealed_at", BigInteger, nullable=False),
    Column("kid", String(16), nullable=False),
    # NULL where the details of the record were erased.
    Column("nonce", LargeBinary(16)),
    Column("details", LargeBinary(32), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("link", LargeBinary(32), nullable=False),
)

# One row: whoever seals holds it.
TRAIL_HEAD = Table(
    "limen_trail_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("link", LargeBinary(32)),
    Column("floor", BigInteger, nullable=False),
    # Where the chain begins after its oldest records were removed.
    Column("base_number", BigInteger, nullable=False),
    Column("base_link", LargeBinary(32)),
    Column("base_kid", String(16)),
    Column("base_mac", LargeBinary(32)),
    # Vouches for number, link and floor.
    Column("head_kid", String(16)),
    Column("head_mac", LargeBinary(32)),
    CheckConstraint("id = 1", name="id"),
    sqlite_with_rowid=False,
)

# How far each sink of the trail has been handed it. A row is held by a lease while somebody hands on.
TRAIL_SINKS = Table(
    "limen_trail_sinks",
    METADATA,
    Column("name", String(300), primary_key=True),
    # The last place that the sink has taken, and its link, by which a chain that was rewritten is noticed.
    Column("place", BigInteger, nullable=False),
    Column("link", LargeBinary(32)),
    Column("checkpoint_at", BigInteger, nullable=False),
    Column("lease", String(36)),
    Column("lease_until", BigInteger, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failure", String(200)),
    Column("handed_at", BigInteger),
    sqlite_with_rowid=False,
)
