"""What a device writes before it sends: its ledger, and the files of its attempt. One folder, nothing outside it."""

from collections import Counter
from pathlib import Path

from accord.errors import CodecError
from accord.files import DISK, Disk, FileError
from accord.link.abilities import Abilities
from accord.records import Int, Many, Name, Nested, Octets, Record, RecordType, field
from accord.tensors import Layout
from accord.values import dataclass
from edge_sdk.held_model import HeldModel
from edge_sdk.residual import LARGEST_VECTOR, RESIDUAL, VECTORS
from edge_sdk.saved import (
    UNSETTLED,
    AnsweredOnce,
    ConfirmedOnce,
    Joined,
    MaskedOnce,
    Saved,
    Shared,
    Unsettled,
    WithdrewOnce,
)
from edge_sdk.session_values import Ledger

_COUNT = Int(0, 2**32)
MOST_JOBS = 256
"""Jobs that one device takes part in over its life; each takes some 150 bytes of the ledger."""


@dataclass(frozen=True, kw_only=True)
class JobRecord(Record):
    """How far this device has gone in one job."""

    job: str = field(Name())
    round: int = field(_COUNT)
    attempt: int = field(_COUNT)
    closed_round: int = field(_COUNT)
    transcript: bytes = field(Octets(32))
    version: int = field(_COUNT)
    params: bytes = field(Octets(0, 32))
    sat_out: int = field(_COUNT)


@dataclass(frozen=True, kw_only=True)
class LedgerRecord(Record):
    """The ledger's form on disk: what counts for the device as a whole, and each job that it took part in."""

    participations: int = field(_COUNT)
    roles_version: int = field(_COUNT)
    revocations_version: int = field(_COUNT)
    checkpoint: bytes = field(Octets(0, 4_096))
    jobs: tuple[JobRecord, ...] = field(Many(Nested(JobRecord), 0, MOST_JOBS))


_OF_JOB = tuple(name for name, _ in JobRecord.kinds() if name != "job")
_OF_DEVICE = tuple(name for name, _ in LedgerRecord.kinds() if name != "jobs")
_NOTHING = LedgerRecord(participations=0, roles_version=0, revocations_version=0, checkpoint=b"", jobs=())


LARGEST_DOCUMENT = 65_536  # bytes

BROKER = "broker"
"""The file that is written at the first login: what the broker can do."""


class DiskRecords:
    """The device's journal in one folder.

    Args:
        folder: made if missing, with mode 0700.
        job: whose rounds and versions `ledger` and `charge` are about.
        disk: where it lies.
    """

    def __init__(self, folder: Path, job: str, disk: Disk = DISK) -> None:
        self._disk, self._job = disk, job
        self._folder = disk.make_folder(folder)
        self._ledger = self._folder / "ledger"
        self._birth, self._roles = self._folder / "birth", self._folder / "roles"
        self._broker, self._model = self._folder / BROKER, HeldModel(self._folder, disk, self._write)
        self.written: Counter[str] = Counter()
        """Bytes written since this object was made, by file: what a card wears out with."""

    def ledger(self) -> Ledger:
        """Return how far this device has gone in its job; the start if it never took part.

        Raises:
            FileError: the ledger is damaged: the device can't know what it has sent, and must be enrolled anew.
        """
        record = self._written()
        found = {name: getattr(record, name) for name in _OF_DEVICE}
        for job in record.jobs:
            if job.job == self._job:
                found |= {name: getattr(job, name) for name in _OF_JOB}
        return Ledger(**found)

    def _written(self) -> LedgerRecord:
        if not self._disk.exists(self._ledger):
            return _NOTHING
        try:
            return LedgerRecord.decode(self._disk.read_limited(self._ledger, LedgerRecord.LIMIT))
        except CodecError as error:
            raise FileError(f"{self._ledger} is damaged ({error}): erase the device and enrol it anew") from error

    def next_birth(self) -> int:
        """Count this start of the process and return its number."""
        data = self._disk.read_limited(self._birth, 32) if self._disk.exists(self._birth) else b"0"
        number = (int(data) if data.isdigit() else 0) + 1
        self._write(self._birth, str(number).encode())
        return number

    def saved(self) -> Saved:
        """Return the files of the attempt that was under way.

        Raises:
            FileError: one of them can't be read; `forget` deletes them.
        """
        return Saved(
            joined=self._found("joined", Joined),
            shared=self._found("shared", Shared),
            masked=self._found("masked", MaskedOnce),
            confirmed=self._found("confirmed", ConfirmedOnce),
            answered=self._found("answered", AnsweredOnce),
            withdrawn=self._found("withdrawn", WithdrewOnce),
            unsettled=self._found(UNSETTLED, Unsettled),
        )

    def residual(self) -> dict[str, bytes]:
        """Return the files of the residual that are there, by name."""
        paths = [self._folder / name for name in (RESIDUAL, *VECTORS)]
        return {path.name: self._disk.read_private(path, LARGEST_VECTOR) for path in paths if self._disk.exists(path)}

    def _found(self, name: str, record: type[RecordType]) -> RecordType | None:
        path = self._folder / name
        if not self._disk.exists(path):
            return None
        try:
            return record.decode(self._disk.read_private(path, record.LIMIT))
        except CodecError as error:
            raise FileError(f"{path} is damaged ({error}): this attempt is left") from error

    def charge(self, ledger: Ledger) -> None:
        """Write the ledger; other jobs stay as they are.

        Raises:
            FileError: it can't be written, or the device has taken part in too many jobs.
        """
        mine = JobRecord(job=self._job, **{name: getattr(ledger, name) for name in _OF_JOB})
        others = [job for job in self._written().jobs if job.job != self._job]
        if len(others) >= MOST_JOBS:
            raise FileError(f"{self._ledger} holds {MOST_JOBS} jobs: erase the device and enrol it anew")
        record = LedgerRecord(**{name: getattr(ledger, name) for name in _OF_DEVICE}, jobs=(*others, mine))
        self._write(self._ledger, record.encode())

    def keep(self, name: str, data: bytes) -> None:
        """Write one of the attempt's files."""
        self._write(self._folder / name, data)

    def hold(self, model: bytes, led: bytes = b"") -> None:
        """Write the version of the model that this device holds, in place of the one before; see `HeldModel`.

        Raises:
            FileError: the disk is full, read-only or fails.
        """
        self._model.hold(model, led)

    def model(self, limit: int, layout: Layout) -> bytes:
        """Return the version of the model that was held last; empty if none was, or it can't be read."""
        return self._model.model(limit, layout)

    def believe(self, roles: bytes) -> None:
        """Write the roles document that is in force."""
        self._write(self._roles, roles)

    def roles(self) -> bytes | None:
        """Return the roles document that was heard last; None if none was.

        Raises:
            FileError: it can't be read.
        """
        return self._disk.read_private(self._roles, LARGEST_DOCUMENT) if self._disk.exists(self._roles) else None

    def broker(self) -> Abilities | None:
        """Return what the broker that was met last could do; None if none was met, or the file is damaged."""
        if not self._disk.exists(self._broker):
            return None
        try:
            return Abilities.decode(self._disk.read_limited(self._broker, Abilities.LIMIT))
        except CodecError:
            return None  # it is asked again

    def met(self, broker: Abilities) -> None:
        """Write what a broker can do."""
        self._write(self._broker, broker.encode())

    def forget(self, names: tuple[str, ...]) -> None:
        """Delete files of the attempt, in this order."""
        for name in names:
            self._disk.remove(self._folder / name)

    def _write(self, path: Path, data: bytes) -> None:
        self._disk.write_atomic(path, data)
        self.written[path.name] += len(data)
