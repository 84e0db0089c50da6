"""A tenant with keys, and its audit log in a folder."""

from collections.abc import Sequence
from pathlib import Path

from accord import prg
from accord.entropy import SeededEntropy
from accord.wire.envelope import Envelope
from accord.wire.messages import Roles, opened
from aggregator.audit.entries import AuditEntry
from aggregator.audit.folder import AuditFiles, AuditFolder
from aggregator.audit.log import AuditLog
from aggregator.audit.record_file import HEADER, RecordFile
from aggregator.audit.verification import Report, verify
from aggregator.enrolment import new_fleet


def entry(number: int) -> AuditEntry:
    """Three kinds, in the order of a fleet's life: bundles, plans with participations, releases."""
    kind = ("plan", "participation", "participation", "release")[number % 4]
    subject = f"job/{number // 4 + 1}" + ("" if kind == "release" else "/1")
    return AuditEntry(kind=kind, time=1_000 + number, subject=subject, digest=prg.digest(b"%d" % number))


class Audited:
    """One state folder, and what an attacker on the aggregator's disk can do to it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.fleet = new_fleet("t", SeededEntropy(1), 5_000)
        self.roles = opened(Envelope.decode(self.fleet.roles()), Roles)
        self.entries_path = state / "audit" / "entries"
        self._open: list[AuditFolder] = []

    def log(self) -> AuditLog:
        """Open the log as its one writer, in place of the one before."""
        self.close()
        folder = AuditFolder(self.state)
        self._open.append(folder)
        folder.keep_roles(self.fleet.roles())
        return AuditLog(folder, key=self.fleet.aggregator, tenant="t")

    def close(self) -> None:
        for folder in self._open:
            folder.close()
        self._open.clear()

    def filled(self, size: int, each: int) -> AuditLog:
        """Write `size` entries and sign a checkpoint behind every `each` of them."""
        log = self.log()
        for start in range(0, size, each):
            log.append(*(entry(number) for number in range(start, min(size, start + each))))
            log.checkpoint()
        return log

    def leaves(self) -> list[bytes]:
        return [frame.data for frame in AuditFiles(self.state).entries()]

    def rewrite(self, leaves: Sequence[bytes], hashes: Sequence[bytes] | None = None) -> None:
        """Put other entries in the file, with the hashes that belong to them unless others are given."""
        self.close()
        plain = self.state / "audit" / "plain"
        plain.unlink(missing_ok=True)
        RecordFile(plain).append(leaves)
        data = bytearray(plain.read_bytes())
        at = 0
        for number, leaf in enumerate(leaves):
            if hashes is not None:
                data[at + 4 : at + HEADER] = hashes[number]
            at += HEADER + len(leaf)
        self.entries_path.write_bytes(data)

    def report(self, **shown: bytes) -> Report:
        files = AuditFiles(self.state)
        return verify(files.entries(), files.checkpoints(), [self.roles], shown=shown)
