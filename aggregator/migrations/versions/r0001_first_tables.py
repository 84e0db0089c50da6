"""The first tables: jobs and their journal, rounds, devices, the registry, the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "jobs",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.Column("status", sa.String(64), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=True),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_jobs"),
    )
    op.create_table(
        "events",
        sa.Column("id", SERIAL, nullable=False, autoincrement=True),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("now", sa.Double(), nullable=False),
        sa.Column("clock", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.name"], name="fk_events_job"),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_job", "events", ["job"])
    op.create_table(
        "rounds",
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("status", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.name"], name="fk_rounds_job"),
        sa.PrimaryKeyConstraint("job", "round", name="pk_rounds"),
    )
    op.create_table(
        "results",
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.name"], name="fk_results_job"),
        sa.PrimaryKeyConstraint("job", "round", "attempt", "device", name="pk_results"),
    )
    op.create_index("ix_results_time", "results", ["time"])
    op.create_table(
        "lines",
        sa.Column("id", SERIAL, nullable=False, autoincrement=True),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.name"], name="fk_lines_job"),
        sa.PrimaryKeyConstraint("id", name="pk_lines"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_lines_job", "lines", ["job"])
    op.create_table(
        "devices",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("serial", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(64), nullable=False),
        sa.Column("first_seen", sa.Double(), nullable=False),
        sa.Column("last_seen", sa.Double(), nullable=False),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("birth", sa.BigInteger(), nullable=False),
        sa.Column("rounds", sa.BigInteger(), nullable=False),
        sa.Column("bytes_up", sa.BigInteger(), nullable=False),
        sa.Column("bytes_down", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_devices"),
    )
    op.create_table(
        "requests",
        sa.Column("id", SERIAL, nullable=False, autoincrement=True),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.String(64), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_requests_device", "requests", ["device"])
    op.create_table(
        "roles",
        sa.Column("version", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("letter", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_roles"),
    )
    op.create_table(
        "versions",
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("parent", sa.String(64), nullable=True),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("params", sa.String(64), nullable=False),
        sa.Column("bundle", sa.String(64), nullable=False),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("letter", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.name"], name="fk_versions_job"),
        sa.UniqueConstraint("digest", name="uq_versions_digest"),
        sa.ForeignKeyConstraint(["parent"], ["versions.digest"], name="fk_versions_parent"),
        sa.PrimaryKeyConstraint("job", "version", name="pk_versions"),
    )
    op.create_index("ix_versions_parent", "versions", ["parent"])
    op.create_table(
        "promotions",
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("letter", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.name"], name="fk_promotions_job"),
        sa.PrimaryKeyConstraint("job", "number", name="pk_promotions"),
    )
    op.create_table(
        "measurements",
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("letter", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.name"], name="fk_measurements_job"),
        sa.PrimaryKeyConstraint("job", "version", "round", name="pk_measurements"),
    )
    op.create_table(
        "salts",
        sa.Column("commitment", sa.String(64), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("commitment", name="pk_salts"),
    )
    op.create_index("ix_salts_device", "salts", ["device"])
    op.create_table(
        "leaves",
        sa.Column("id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_leaves"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("size", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_checkpoints"),
    )
