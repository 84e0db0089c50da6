"""`accord model`: the registry as a command. It opens the aggregator's database beside it, running or not."""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from accord import __version__
from accord.files import write_atomic
from aggregator import journal, promotion_cli, prune_cli, retention
from aggregator.blobs import BLOBS, Blobs
from aggregator.desk import Desk
from aggregator.fleet_folder import PUBLIC, FleetFolder
from aggregator.lineage import lineage_of, tree
from aggregator.lineage_drawing import drawing
from aggregator.model_export import exported
from aggregator.model_facts import facts, sentence, when
from aggregator.promotion_cli import Printed
from aggregator.registry import Registry
from aggregator.registry_values import Registered, RegistryError, differences
from aggregator.store import existing
from aggregator.tables import jobs
from aggregator.verification import verify


class JobRunsError(RegistryError):
    """A new version can't be made beside a job that makes versions: stop the job first."""

    reason = "JobRuns"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add one subcommand per action."""
    parser.epilog = "example: accord model list --state aggregator-state"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, sentence: str, example: str, *, version: bool = True) -> argparse.ArgumentParser:
        action = actions.add_parser(
            name, help=sentence, description=sentence, epilog=f"example: accord model {example}"
        )
        if version:
            action.add_argument("version", type=int, help="the version's number")
        action.add_argument("--state", type=Path, required=True, metavar="DIR", help="the aggregator's state folder")
        action.add_argument(
            "--database", metavar="URL", help="postgresql+psycopg://..., if it is not in the state folder"
        )
        action.add_argument("--job", help="whose versions; not needed if there is one job")
        action.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object instead of text"
        )
        return action

    add("list", "List the versions, their stages and what made them.", "list --state aggregator-state", version=False)
    show = add(
        "show", "Show a version: what made it, its stage, its figures.", "show 7 --state aggregator-state --against 3"
    )
    show.add_argument("--against", type=int, metavar="VERSION", help="show how the figures differ from this version's")
    line = add(
        "lineage", "Show what made a version and what came from it.", "lineage 7 --state aggregator-state --svg 7.svg"
    )
    line.add_argument("--svg", type=Path, metavar="FILE", help="draw it, too")
    check = add(
        "verify",
        "Check every signature, digest and link of the chain.",
        "verify --state aggregator-state --root fleet/root.pub",
        version=False,
    )
    check.add_argument("--root", type=Path, metavar="FILE", help="the fleet root's public key, from a place you trust")
    out = add(
        "export",
        "Write a version as an ONNX model that an app can run.",
        "export 7 --state aggregator-state --out m.onnx",
    )
    out.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write it")
    promotion_cli.configure(actions, add)
    prune_cli.configure(add)
    back = add(
        "rollback",
        "Make a new version with the parameters of an old one.",
        "rollback 5 --state aggregator-state --fleet fleet",
    )
    back.add_argument("--fleet", type=Path, required=True, metavar="DIR", help="the folder with the aggregator's key")


def run(arguments: argparse.Namespace) -> int:
    """Do one action and return its exit code."""
    if arguments.action == "sign":
        found, lines, code = promotion_cli.sign(arguments)
    elif arguments.action == "prune":
        found, lines, code = prune_cli.prune(arguments)
    else:
        with _opened(arguments) as (connection, registry):
            found, lines, code = _ACTIONS[arguments.action](arguments, connection, registry)
    print(json.dumps(found) if arguments.json else "\n".join(lines))
    return code


@contextmanager
def _opened(arguments: argparse.Namespace) -> Iterator[tuple[Connection, Registry]]:
    folder: Path = arguments.state
    store = existing(folder, arguments.database)
    writes = arguments.action in ("promote", "rollback")
    try:
        with store.begin() if writes else store.read() as connection:
            yield connection, Registry(Blobs(folder / BLOBS))
    finally:
        store.close()


def _entry(arguments: argparse.Namespace, connection: Connection, registry: Registry) -> Registered:
    return registry.get(connection, promotion_cli.job_of(arguments, connection, registry), arguments.version)


def _list(arguments: argparse.Namespace, connection: Connection, registry: Registry) -> Printed:
    entries = registry.every(connection, arguments.job)
    lines = [f"{'job':<20} {'version':>7}  {'stage':<10}  {'made by':<14}  {'at':<16}  digest"]
    for entry in entries:
        version = entry.version
        made = f"round {version.round}" if version.origin == "round" else version.origin
        name = f"{version.job:<20} {version.version:>7}"
        lines.append(f"{name}  {entry.stage:<10}  {made:<14}  {when(version.time)}  {entry.digest.hex()[:16]}")
    return {"versions": [facts(entry) for entry in entries]}, lines if entries else ["no versions yet"], 0


def _show(arguments: argparse.Namespace, connection: Connection, registry: Registry) -> Printed:
    entry = _entry(arguments, connection, registry)
    job = entry.version.job
    figures = _figures(connection, registry, job, arguments.version)
    promotions = [p for p in registry.promotions(connection, job) if p.version == arguments.version]
    found = facts(entry) | {
        "cohorts": [
            {"name": cohort.name, "root": cohort.root.hex(), "survivors": cohort.survivors.hex()}
            for cohort in entry.version.cohorts
        ],
        "promotions": [{"number": p.number, "stage": p.stage, "time": p.time} for p in promotions],
        "figures": figures,
    }
    lines = [f"{name:<16} {value}" for name, value in facts(entry).items() if value not in ("", None)]
    lines += [f"cohort           {c['name']} root {c['root'][:16]}" for c in found["cohorts"]]
    lines += [
        f"promotion        {p.number}: to {p.stage} at {when(p.time)}, signed by the publisher" for p in promotions
    ]
    lines += [f"figure           {name} {value:g}" for name, value in figures.items()]
    if arguments.against is not None:
        registry.get(connection, job, arguments.against)
        changes = differences(_figures(connection, registry, job, arguments.against), figures)
        found["against"] = {"version": arguments.against, "changes": changes}
        lines += [
            f"change           {name} {old:g} -> {new:g} ({step:+g})" for name, (old, new, step) in changes.items()
        ]
    return found, lines, 0


def _lineage(arguments: argparse.Namespace, connection: Connection, registry: Registry) -> Printed:
    lineage = lineage_of(_entry(arguments, connection, registry), registry.every(connection))
    if arguments.svg is not None:
        write_atomic(arguments.svg, drawing(lineage).encode(), PUBLIC)
    found = {
        "version": facts(lineage.entry),
        "ancestors": [facts(entry) for entry in lineage.ancestors],
        "descendants": [facts(entry) for entry in lineage.descendants],
        "rounds": [{"job": job, "round": number} for job, number in lineage.rounds],
    }
    return found, tree(lineage), 0


def _verify(arguments: argparse.Namespace, connection: Connection, registry: Registry) -> Printed:
    root = promotion_cli.root_of(arguments)
    names = [arguments.job] if arguments.job else registry.jobs(connection)
    faults = [fault for name in names for fault in verify(connection, registry, name, root)]
    found = {"root_checked": root is not None, "jobs": names, "faults": [vars(fault) for fault in faults]}
    lines = [sentence(fault) for fault in faults]
    lines += [] if faults else [f"every version of {', '.join(names) or 'no job'} holds"]
    if root is None:
        lines.append("the roles documents were not checked: pass --root with the fleet root's public key")
    return found, lines, 1 if faults else 0


def _export(arguments: argparse.Namespace, connection: Connection, registry: Registry) -> Printed:
    entry = _entry(arguments, connection, registry)
    promotion_cli.believed(connection, registry, entry, None)
    retention.check_there(connection, registry, entry)
    data = exported(registry, entry)
    write_atomic(arguments.out, data, PUBLIC)
    return facts(entry) | {"path": str(arguments.out), "bytes": len(data)}, [f"{arguments.out}: {len(data)} bytes"], 0


def _rollback(arguments: argparse.Namespace, connection: Connection, registry: Registry) -> Printed:
    office = FleetFolder(path=arguments.fleet).office()
    entry = _entry(arguments, connection, registry)
    _at_rest(connection, entry.version.job, arguments.state)
    retention.check_kept(connection, entry)
    made = registry.rollback(connection, Desk(office.key), entry, office.roles, __version__, int(time.time()))
    line = f"version {made.version.version} of job {made.version.job} has the parameters of version {arguments.version}"
    return facts(made), [line], 0


_ACTIONS: Mapping[str, Callable[[argparse.Namespace, Connection, Registry], Printed]] = {
    "list": _list,
    "show": _show,
    "lineage": _lineage,
    "verify": _verify,
    "export": _export,
    "promote": promotion_cli.promote,
    "rollback": _rollback,
}


def _at_rest(connection: Connection, job: str, state: Path) -> None:
    """Refuse while rounds stand on the newest version: what they make would belong to the wrong one."""
    row = jobs.locked(connection, job)
    if row.status in ("waiting", "running"):
        raise JobRunsError(f"job {job} is {row.status}: stop the job first, `accord job stop {job} --state {state}`")
    if journal.under_way(connection, job):
        raise JobRunsError(f"job {job} stops, and its round is not over: `accord job logs {job} -f --state {state}`")


def _figures(connection: Connection, registry: Registry, job: str, version: int) -> dict[str, float]:
    return {k: v for found in registry.measured(connection, job, version) for k, v in found.values.items()}
