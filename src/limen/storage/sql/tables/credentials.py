"""Keys that sign, keys and certificates that are presented, and who had them in hand."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from limen.storage.sql.tables.base import IDENTIFIER, METADATA

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
