"""Runs the steps that a database lacks. Imported only when there are any, as Alembic is slow to load."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

FOLDER = Path(__file__).parent


def known() -> frozenset[str]:
    """Return every revision that this program can start from."""
    return frozenset(revision.revision for revision in ScriptDirectory(str(FOLDER)).walk_revisions())


def upgrade(connection: Connection, to: str = "head") -> None:
    """Bring the schema to the newest revision, or to `to`, in the transaction of `connection`."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    command.upgrade(config, to)
