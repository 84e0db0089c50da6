"""The tables of the store as they are now; `aggregator.migrations` makes them, and a test holds the two together.

Names are at most 64 characters (docs/protocol.md, section 1), digests are 64 hexadecimal digits, times are wall time in
seconds, and JSON is text that the functions in `aggregator.tables` write.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

REVISION = "0005"
"""The newest step of `aggregator.migrations`, known without loading Alembic."""

NAMES = String(64)
DIGESTS = String(64)
WORDS = String(64)
SERIAL = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit number that the database counts up; SQLite does that for INTEGER alone."""

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _serial() -> Column[int]:
    return Column("id", SERIAL, primary_key=True, autoincrement=True)


def _job() -> Column[str]:
    return Column("job", NAMES, ForeignKey("jobs.name"), nullable=False)


JOBS = Table(
    "jobs",
    METADATA,
    Column("name", NAMES, primary_key=True),
    Column("created", Double, nullable=False),
    Column("status", WORDS, nullable=False),
    Column("config", Text, nullable=False),
    Column("state", LargeBinary),
    Column("round", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
)

EVENTS = Table(
    "events",
    METADATA,
    _serial(),
    _job(),
    Column("now", Double, nullable=False),
    Column("clock", BigInteger, nullable=False),
    Column("kind", WORDS, nullable=False),
    Column("device", NAMES, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index(None, "job"),
    sqlite_autoincrement=True,
)
"""The journal of the round under way: `now` is the monotonic clock that the engine saw, `clock` wall time."""

ROUNDS = Table(
    "rounds",
    METADATA,
    _job(),
    Column("round", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("purpose", WORDS, nullable=False),
    Column("status", WORDS, nullable=False),
    Column("reason", WORDS, nullable=False),
    Column("started", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("record", Text, nullable=False),
    PrimaryKeyConstraint("job", "round"),
)

RESULTS = Table(
    "results",
    METADATA,
    _job(),
    Column("round", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("device", NAMES, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("time", BigInteger, nullable=False),
    PrimaryKeyConstraint("job", "round", "attempt", "device"),
    Index(None, "time"),
)

LINES = Table(
    "lines",
    METADATA,
    _serial(),
    _job(),
    Column("time", Double, nullable=False),
    Column("record", Text, nullable=False),
    Index(None, "job"),
    sqlite_autoincrement=True,
)

DEVICES = Table(
    "devices",
    METADATA,
    Column("name", NAMES, primary_key=True),
    Column("tenant", NAMES, nullable=False),
    Column("serial", BigInteger, nullable=False),
    Column("status", WORDS, nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    Column("online", Boolean, nullable=False),
    Column("birth", BigInteger, nullable=False),
    Column("rounds", BigInteger, nullable=False),
    Column("bytes_up", BigInteger, nullable=False),
    Column("bytes_down", BigInteger, nullable=False),
    Column("identity", LargeBinary, nullable=False, server_default=text("''")),
    Column("sequence", BigInteger, nullable=False, server_default=text("0")),
    Column("newest_birth", BigInteger, nullable=False, server_default=text("0")),
    Column("reason", WORDS, nullable=False, server_default=text("''")),
)
"""`birth` is that of the connection seen last, a hint; `newest_birth` and `sequence` are of signed check-ins."""

REQUESTS = Table(
    "requests",
    METADATA,
    _serial(),
    Column("device", NAMES, nullable=False),
    Column("time", Double, nullable=False),
    Column("kind", WORDS, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("status", WORDS, nullable=False),
    Column("answer", LargeBinary),
    Index(None, "device"),
    sqlite_autoincrement=True,
)

ROLES = Table(
    "roles",
    METADATA,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("letter", LargeBinary, nullable=False),
)
"""The root's documents under which versions were signed, so that old versions can be checked after keys change."""

VERSIONS = Table(
    "versions",
    METADATA,
    _job(),
    Column("version", BigInteger, nullable=False),
    Column("digest", DIGESTS, nullable=False, unique=True),
    Column("parent", DIGESTS, ForeignKey("versions.digest")),
    Column("round", BigInteger, nullable=False),
    Column("params", DIGESTS, nullable=False),
    Column("bundle", DIGESTS, nullable=False),
    Column("stage", WORDS, nullable=False),
    Column("letter", LargeBinary, nullable=False),
    PrimaryKeyConstraint("job", "version"),
    Index(None, "parent"),
)

PROMOTIONS = Table(
    "promotions",
    METADATA,
    _job(),
    Column("number", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("stage", WORDS, nullable=False),
    Column("letter", LargeBinary, nullable=False),
    PrimaryKeyConstraint("job", "number"),
)

MEASUREMENTS = Table(
    "measurements",
    METADATA,
    _job(),
    Column("version", BigInteger, nullable=False),
    Column("round", BigInteger, nullable=False),
    Column("letter", LargeBinary, nullable=False),
    PrimaryKeyConstraint("job", "version", "round"),
)

LOGGED = Table(
    "logged",
    METADATA,
    _job(),
    Column("version", BigInteger, nullable=False),
    Column("promotion", BigInteger, nullable=False),
    PrimaryKeyConstraint("job"),
)
"""Up to which version and which promotion of a job the audit log knows of rollbacks and promotions."""

PRUNED = Table(
    "pruned",
    METADATA,
    _job(),
    Column("version", BigInteger, nullable=False),
    Column("time", Double, nullable=False),
    PrimaryKeyConstraint("job", "version"),
)
"""Versions whose parameters a person has let go; `time` is wall time in seconds."""
