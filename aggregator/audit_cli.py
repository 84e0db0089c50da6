"""`accord audit`: the audit log for people who do not trust whoever keeps it."""

import argparse
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from accord import merkle, prg
from accord.errors import Refusal, UsageError
from accord.files import read_limited, write_atomic
from accord.secagg.authority import trusted_roles
from accord.wire.envelope import Envelope
from accord.wire.messages import Checkpoint, Roles, opened
from aggregator.audit import listing, proof
from aggregator.audit.entries import AuditEntry
from aggregator.audit.folder import LARGEST, AuditFiles
from aggregator.audit.log import AuditError
from aggregator.audit.record_file import Frame
from aggregator.audit.verification import Report, verify

POLL = 0.5  # seconds between looks for new entries
LONG = 1 << 22  # bytes of a log from which a progress bar is shown
DOCUMENT = 1 << 28  # bytes of a document that an entry may be about
PUBLIC = 0o644


def configure(parser: argparse.ArgumentParser) -> None:
    """Add `tail`, `verify`, `prove` and `check`."""
    parser.epilog = "example: accord audit verify --state aggregator-state"
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, sentence: str, example: str, *, log: bool = True) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=sentence,
            description=sentence,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if log:
            sub.add_argument(
                "--state", type=Path, default=Path(), metavar="DIR", help="the aggregator's state folder (default: .)"
            )
        sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON instead of text")
        return sub

    tail = add("tail", "print the last entries, one a line", "accord audit tail --state run/aggregator -n 50 -f")
    tail.add_argument("-n", type=int, default=20, metavar="N", help="how many (default %(default)s)")
    tail.add_argument("-f", action="store_true", help="go on with new ones as they come, until Ctrl-C")
    check_all = add(
        "verify",
        "recompute the log from its first entry and hold it against everything that was signed",
        "accord audit verify --state run/aggregator --root fleet/root.pub --checkpoint kept-by-a-device",
    )
    check_all.add_argument(
        "--checkpoint", type=Path, action="append", default=[], metavar="FILE",
        help="a signed checkpoint from elsewhere that the log must continue; may be repeated",
    )  # fmt: skip
    _roles(check_all)
    check_all.add_argument(
        "--root", type=Path, metavar="FILE", help="the fleet root's public key: it must have signed the roles documents"
    )
    prove = add(
        "prove",
        "write a proof that an entry is in the log, to be checked without it",
        "accord audit prove --state run/aggregator --round job/3 --out round3.proof",
    )
    which = prove.add_mutually_exclusive_group(required=True)
    which.add_argument("--entry", type=int, metavar="N", help="the entry with this index")
    which.add_argument("--release", metavar="[J/]V", help="the release of version V, and its promotions")
    which.add_argument("--round", metavar="J/N", help="the plans and participations of round N of job J")
    prove.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write it")
    _roles(prove)
    check = add(
        "check",
        "check such a proof with the fleet root's public key alone",
        "accord audit check round3.proof --root fleet/root.pub",
        log=False,
    )
    check.add_argument("file", type=Path, metavar="FILE", help="what `prove` wrote")
    check.add_argument("--root", type=Path, required=True, metavar="FILE", help="the fleet root's public key")
    check.add_argument(
        "--document", type=Path, metavar="FILE", help="a file that one of the entries must be about, byte for byte"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for and return the exit code: 1 if the log does not hold."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "tail": _tail,
        "verify": _verify,
        "prove": _prove,
        "check": _check,
    }
    return actions[arguments.action](arguments)


def _roles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--roles", type=Path, action="append", default=[], metavar="FILE",
        help="a roles document whose aggregator's signatures count; may be repeated "
        "(default: those that the aggregator kept beside the log)",
    )  # fmt: skip


def _tail(arguments: argparse.Namespace) -> int:
    if arguments.n < 0:
        raise UsageError("-n is 0 or more")
    files = AuditFiles(arguments.state)
    frames = list(deque(files.settled(), maxlen=max(1, arguments.n)))
    end, index = (frames[-1].end, frames[-1].index + 1) if frames else (0, 0)
    try:
        for frame in frames if arguments.n else ():
            _print_entry(frame, as_json=arguments.json)
        while arguments.f:
            for frame in files.settled(start=end, index=index):
                end, index = frame.end, frame.index + 1
                _print_entry(frame, as_json=arguments.json)
            time.sleep(POLL)
    except KeyboardInterrupt:
        pass  # how one leaves -f
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has had enough
    return 0


def _print_entry(frame: Frame, *, as_json: bool) -> None:
    if not frame.fits:
        raise AuditError(f"entry {frame.index} is damaged: `accord audit verify` tells more")
    fact = listing.fact(frame.index, AuditEntry.decode(frame.data))
    print(json.dumps(fact) if as_json else listing.line(fact), flush=True)


def _verify(arguments: argparse.Namespace) -> int:
    files = AuditFiles(arguments.state)
    documents = _documents(arguments, files)
    root = None if arguments.root is None else _root(arguments.root)
    roles = [_trusted(data, root) for data in documents]
    shown = {str(path): read_limited(path, LARGEST) for path in arguments.checkpoint}
    checkpoints = files.checkpoints()
    with _bar("verifying", files, quiet=arguments.json) as progress:
        report = verify(files.entries(), checkpoints, roles, shown=shown, progress=progress)
    return _told(report, as_json=arguments.json, rooted=root is not None)


def _told(report: Report, *, as_json: bool, rooted: bool) -> int:
    finding = report.finding
    if as_json:
        fact = {
            "ok": finding is None,
            "entries": report.entries,
            "signed": report.signed,
            "checkpoints": report.checkpoints,
            "root": report.root.hex(),
            "kinds": dict(report.kinds),
            "entry": None if finding is None else finding.entry,
            "problem": None if finding is None else finding.problem,
        }
        print(json.dumps(fact))
    elif finding is not None:
        raise AuditError(f"the log does not hold: {finding.problem}")
    else:
        print(f"the log holds: {report.entries} entries, as {report.checkpoints} signed checkpoints say")
        print("  " + (", ".join(f"{count} {kind}" for kind, count in report.kinds.items()) or "empty"))
        print(f"  root {report.root.hex()}")
        if report.signed < report.entries:
            print(f"  not signed yet: {report.entries - report.signed}")
        if not rooted:
            print("  the roles documents were taken on trust: give the fleet root's public key with --root")
    return 0 if finding is None else 1


def _prove(arguments: argparse.Namespace) -> int:
    wanted = _wanted(arguments)
    files = AuditFiles(arguments.state)
    checkpoints = files.checkpoints()
    if not checkpoints or not checkpoints[-1].fits:
        raise AuditError("no checkpoint was signed yet, or the last one is damaged: `accord audit verify` tells more")
    checkpoint = checkpoints[-1].data
    head = opened(Envelope.decode(checkpoint), Checkpoint)
    roles = proof.signer(checkpoint, _documents(arguments, files))
    if roles is None:
        raise AuditError("no roles document at hand names who signed the last checkpoint: give it with --roles")
    tree, found = merkle.Tree(), []
    with _bar("reading", files, quiet=arguments.json) as progress:
        for frame in files.entries():
            if frame.index == head.size or not frame.fits:
                break
            tree.append(frame.leaf)
            if wanted(frame.index, AuditEntry.decode(frame.data)):
                found.append((frame.index, frame.data))
            progress(frame.end)
    if tree.size != head.size or tree.root() != head.root:
        raise AuditError(
            "the log is not what was signed: `accord audit verify` names the first entry that does not fit"
        )
    if not found:
        raise AuditError(f"no such entry is in the log of {head.size} that was signed last; newer ones wait for a plan")
    if len(found) > proof.MOST:
        raise UsageError(f"{len(found)} entries are more than the {proof.MOST} of one proof: prove them with --entry")
    data = proof.made(tree, found, checkpoint, roles).encode()
    write_atomic(arguments.out, data, PUBLIC)
    if arguments.json:
        fact = {"file": str(arguments.out), "bytes": len(data), "size": head.size, "entries": [i for i, _ in found]}
        print(json.dumps(fact))
    else:
        print(f"{arguments.out}: {len(found)} entries of a log of {head.size}, {len(data)} bytes")
    return 0


def _wanted(arguments: argparse.Namespace) -> Callable[[int, AuditEntry], bool]:
    """Return which entries are asked for."""
    if arguments.entry is not None:
        return lambda index, _entry: index == arguments.entry
    if arguments.release is not None:
        job, _, version = arguments.release.rpartition("/")
        return lambda _index, entry: (
            entry.kind in {"release", "promotion"}
            and entry.subject.rpartition("/")[2] == version
            and job in {"", entry.subject.rpartition("/")[0]}
        )
    job, _, number = arguments.round.partition("/")
    if not job or not number.isdigit():
        raise UsageError(f"--round {arguments.round} is not JOB/ROUND, such as job/3")
    return lambda _index, entry: (
        entry.kind in {"plan", "participation"} and entry.subject.startswith(f"{job}/{int(number)}/")
    )


def _check(arguments: argparse.Namespace) -> int:
    proven = proof.check(proof.AuditProof.decode(read_limited(arguments.file, proof.LARGEST)), _root(arguments.root))
    facts = [listing.fact(index, entry) for index, entry in proven.entries]
    if arguments.document is not None:
        digest = prg.digest(read_limited(arguments.document, DOCUMENT)).hex()
        facts = [fact for fact in facts if fact["digest"] == digest]
        if not facts:
            raise Refusal("ForeignDocument", f"no proven entry is about {arguments.document} (BLAKE2b-256 {digest})")
    if arguments.json:
        print(json.dumps({"tenant": proven.tenant, "size": proven.size, "root": proven.root.hex(), "entries": facts}))
    else:
        print(f"proven: in the log of tenant {proven.tenant}, {proven.size} entries, root {proven.root.hex()}")
        for fact in facts:
            print(listing.line(fact))
    return 0


def _documents(arguments: argparse.Namespace, files: AuditFiles) -> list[bytes]:
    if arguments.roles:
        return [read_limited(path, LARGEST) for path in arguments.roles]
    documents = files.roles()
    if not documents:
        raise AuditError(f"{files.path / 'roles'} holds no roles document: give one with --roles, such as fleet/roles")
    return documents


def _trusted(data: bytes, root: bytes | None) -> Roles:
    letter = Envelope.decode(data)
    roles = opened(letter, Roles)
    # An old document has ended, and still says who could sign at its time.
    return roles if root is None else trusted_roles(data, root, roles.tenant, now=-1, seen=0)


def _root(path: Path) -> bytes:
    try:
        root = bytes.fromhex(read_limited(path, 256).decode("ascii", "replace").strip())
    except ValueError:
        root = b""
    if len(root) != 32:
        raise UsageError(f"{path} does not hold a public key of 64 hexadecimal characters: it is the fleet's root.pub")
    return root


@contextmanager
def _bar(what: str, files: AuditFiles, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show how far a long log has been read, on a terminal's standard error."""
    size = files.size
    console = Console(stderr=True)
    if quiet or size < LONG or not console.is_terminal:
        yield lambda _offset: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(what, total=size)
        step, shown = size // 200, 0

        def told(offset: int) -> None:
            nonlocal shown
            if offset - shown >= step:
                shown = offset
                progress.update(task, completed=offset)

        yield told
