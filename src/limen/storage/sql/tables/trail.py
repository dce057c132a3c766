"""The trail, and what makes it evidence."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, LargeBinary, String, Table

from limen.storage.sql.tables.base import JSON_VALUE, METADATA, SEQUENCE

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

# The code of which revision works with the schema as it is (`limen.storage.sql.migrations`).
SCHEMA_COMPATIBLE = Table(
    "limen_schema_compatible",
    METADATA,
    Column("revision", String(32), primary_key=True),
    sqlite_with_rowid=False,
)
