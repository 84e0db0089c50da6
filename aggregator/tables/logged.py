"""How far the audit log knows each job's versions and promotions, which commands write beside the log's one writer."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from aggregator.schema import LOGGED, PROMOTIONS, VERSIONS
from aggregator.tables.upsert import upsert


@dataclass(frozen=True, kw_only=True)
class Reached:
    """One job: the highest version and the highest number of a promotion; -1 and 0 before the first."""

    job: str
    version: int = -1
    promotion: int = 0


def there(connection: Connection) -> tuple[Reached, ...]:
    """Return how far the registry goes, by job."""
    versions = connection.execute(select(VERSIONS.c.job, func.max(VERSIONS.c.version)).group_by(VERSIONS.c.job))
    numbers = connection.execute(select(PROMOTIONS.c.job, func.max(PROMOTIONS.c.number)).group_by(PROMOTIONS.c.job))
    promotions: dict[str, int] = {row[0]: row[1] for row in numbers}
    return tuple(
        Reached(job=job, version=version, promotion=promotions.get(job, 0)) for job, version in sorted(versions)
    )


def known(connection: Connection) -> dict[str, Reached]:
    """Return how far the audit log knows it, by job."""
    rows = connection.execute(select(LOGGED))
    return {row.job: Reached(job=row.job, version=row.version, promotion=row.promotion) for row in rows}


def put(connection: Connection, reached: Reached) -> None:
    """Note how far the audit log knows a job now."""
    upsert(connection, LOGGED, vars(reached), changes=["version", "promotion"])
