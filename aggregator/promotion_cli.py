"""`accord model promote` and `sign`: the publisher's signature, made beside the store or on a machine without it."""

import argparse
import time
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection

from accord.errors import UsageError
from accord.files import read_limited, read_secret, write_atomic
from accord.signing import SigningKey
from accord.wire.envelope import seal
from accord.wire.messages import TAG_OF
from accord.wire.versions import Promotion
from aggregator import retention
from aggregator.detached_promotion import PromotionRequest, promotion_in, requested, signed
from aggregator.fleet_folder import LARGEST, PUBLIC
from aggregator.model_facts import facts, sentence
from aggregator.registry import Registry
from aggregator.registry_values import Registered, RegistryError
from aggregator.verification import verify

Printed = tuple[dict[str, Any], list[str], int]
"""What an action gives: JSON, lines for people, and the exit code."""


class Adding(Protocol):
    """Adds an action that works on a store."""

    def __call__(self, name: str, sentence: str, example: str, *, version: bool = True) -> argparse.ArgumentParser:
        """Return its parser; `version` asks for a version's number."""
        ...


def configure(actions: "argparse._SubParsersAction[argparse.ArgumentParser]", add: Adding) -> None:
    """Add both."""
    up = add(
        "promote",
        "Move a version to a stage, by the publisher's signature: made here with --publisher, or on another machine by "
        "`accord model sign`, with --request before and --answer after it.",
        "promote 7 --state aggregator-state --publisher /media/key/publisher",
        version=False,
    )
    up.add_argument("version", type=int, nargs="?", help="the version's number")
    up.add_argument("--publisher", type=Path, metavar="KEYFILE", help="the publisher's key, mode 0600")
    up.add_argument("--request", type=Path, metavar="FILE", help="write what is to be signed, and promote nothing yet")
    up.add_argument("--answer", type=Path, metavar="FILE", help="take what was signed; needs no VERSION")
    up.add_argument(
        "--stage", choices=("staging", "production", "archived"), default="production", help="(default %(default)s)"
    )
    up.add_argument("--root", type=Path, metavar="FILE", help="the fleet root's public key, to check before signing")
    sign = actions.add_parser(
        "sign",
        help="Sign a promotion that was requested, on the publisher's machine.",
        description="Sign a promotion that was requested, on the publisher's machine, once everything in the request "
        "was checked under the fleet root's public key.",
        epilog="example: accord model sign request --key /media/key/publisher --root root.pub --out answer",
    )
    sign.add_argument("request", type=Path, metavar="FILE", help="of `accord model promote --request`")
    sign.add_argument("--key", type=Path, required=True, metavar="KEYFILE", help="the publisher's key, mode 0600")
    sign.add_argument("--root", type=Path, required=True, metavar="FILE", help="the fleet root's public key")
    sign.add_argument("--out", type=Path, required=True, metavar="FILE", help="for `accord model promote --answer`")
    sign.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")


def promote(arguments: argparse.Namespace, connection: Connection, registry: Registry) -> Printed:
    """Promote with the key at hand, write a request, or take an answer."""
    ways = [arguments.publisher, arguments.request, arguments.answer]
    if sum(way is not None for way in ways) != 1 or (arguments.version is None) == (arguments.answer is None):
        raise UsageError("give VERSION with --publisher KEYFILE or --request FILE, or --answer FILE alone")
    if arguments.answer is not None:
        letter = read_limited(arguments.answer, LARGEST)
        told = promotion_in(letter)
        entry = registry.get(connection, told.job, told.version)
        _whole(connection, registry, entry, told.stage, root_of(arguments))
        return _promoted(connection, registry, letter)
    entry = registry.get(connection, job_of(arguments, connection, registry), arguments.version)
    _whole(connection, registry, entry, arguments.stage, root_of(arguments))
    statement = registry.statement(connection, entry, arguments.stage, int(time.time()))
    if arguments.request is not None:
        write_atomic(arguments.request, requested(connection, entry, statement), PUBLIC)
        lines = [f"{arguments.request} asks for {_told(statement)}; on the publisher's machine:"]
        lines += [f"  accord model sign {arguments.request.name} --key KEYFILE --root root.pub --out answer"]
        return facts(entry) | {"path": str(arguments.request)}, lines, 0
    key, roles = SigningKey(read_secret(arguments.publisher, 32)), registry.roles(connection)
    if roles is None or roles.publisher != key.public:
        raise UsageError(f"{arguments.publisher} is not the key of the publisher whom the fleet's root has named")
    tag = TAG_OF[Promotion]
    made = seal(tag, statement.encode(), key=key, sender="publisher", recipient=statement.job)
    return _promoted(connection, registry, made.encode())


def _whole(connection: Connection, registry: Registry, entry: Registered, stage: str, root: bytes | None) -> None:
    """Refuse a version that does not hold, or that nobody could use in that stage."""
    believed(connection, registry, entry, root)
    if stage != "archived":
        retention.check_kept(connection, entry)


def _promoted(connection: Connection, registry: Registry, letter: bytes) -> Printed:
    promotion = registry.promote(connection, letter)
    after = registry.get(connection, promotion.job, promotion.version)
    return facts(after), [f"version {promotion.version} of job {promotion.job} is in {after.stage}"], 0


def sign(arguments: argparse.Namespace) -> Printed:
    """Sign a request, beside no store."""
    key, root = SigningKey(read_secret(arguments.key, 32)), root_of(arguments)
    request = read_limited(arguments.request, PromotionRequest.LIMIT)
    promotion, letter = signed(request, key, root or b"", int(time.time()))
    write_atomic(arguments.out, letter, PUBLIC)
    names = ("tenant", "job", "number", "version", "stage", "roles_version", "time")
    found = {name: getattr(promotion, name) for name in names} | {"digest": promotion.digest.hex()}
    back = f"  accord model promote --answer {arguments.out.name} --state STATE"
    lines = [f"signed: {_told(promotion)}", f"carry {arguments.out} back:", back]
    return found | {"path": str(arguments.out)}, lines, 0


def _told(promotion: Promotion) -> str:
    return f"version {promotion.version} of job {promotion.job} ({promotion.digest.hex()[:16]}) to {promotion.stage}"


def job_of(arguments: argparse.Namespace, connection: Connection, registry: Registry) -> str:
    """Return the job that is meant: the one that was named, or the only one."""
    if arguments.job is not None:
        return str(arguments.job)
    found = registry.jobs(connection)
    if len(found) != 1:
        raise UsageError(f"say --job: there are versions of {', '.join(found) or 'no job'}")
    return found[0]


def believed(connection: Connection, registry: Registry, entry: Registered, root: bytes | None) -> None:
    """Refuse to sign or to hand out what does not hold."""
    faults = verify(connection, registry, entry.version.job, root)
    wrong = [fault for fault in faults if fault.version is None or fault.version <= entry.version.version]
    if wrong:
        raise RegistryError(f"{sentence(wrong[0])}; `accord model verify` tells all that does not hold")


def root_of(arguments: argparse.Namespace) -> bytes | None:
    """Return the public key that `--root` names; None without it."""
    if arguments.root is None:
        return None
    try:
        return bytes.fromhex(read_limited(arguments.root, LARGEST).decode().strip())
    except ValueError as error:
        raise UsageError(f"{arguments.root} is not a public key in hexadecimal: use the fleet's root.pub") from error
