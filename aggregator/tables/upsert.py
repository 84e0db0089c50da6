"""Insert a row, or change it or leave it alone if its key is there: one statement on both databases."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(
    connection: Connection, table: Table, row: Mapping[str, Any], *, changes: Mapping[str, Any] | Sequence[str]
) -> None:
    """Insert `row`, or apply `changes` where its primary key is there.

    Args:
        connection: in a transaction.
        table: with a primary key.
        row: every column that has no default.
        changes: names of columns that take over the row's values, or expressions over the table's columns.
    """
    set_ = changes if isinstance(changes, Mapping) else {name: row[name] for name in changes}
    keys = [column.name for column in table.primary_key]
    connection.execute(_insert(connection, table, row).on_conflict_do_update(index_elements=keys, set_=dict(set_)))


def inserted(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert `row` unless one of its unique keys is there, and return whether it was inserted."""
    key = next(iter(table.primary_key))
    # PostgreSQL's driver does not count inserted rows; a returned one counts on both.
    return (
        connection.execute(_insert(connection, table, row).on_conflict_do_nothing().returning(key)).first() is not None
    )


def _insert(connection: Connection, table: Table, row: Mapping[str, Any]) -> sqlite.Insert | postgresql.Insert:
    make = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    return make(table).values(**row)
