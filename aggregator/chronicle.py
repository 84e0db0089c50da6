"""What a job writes into the audit log, and the checkpoints and proofs it takes from there.

An entry is durable before what it is about leaves; made again after a crash it is not written twice.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from accord.signing import SigningKey
from accord.wire.envelope import Envelope
from accord.wire.messages import Checkpoint, opened
from aggregator.attempt_values import from_empty
from aggregator.audit import entries
from aggregator.audit.entries import AuditEntry
from aggregator.audit.log import AuditLog
from aggregator.audit.salts import Salts
from aggregator.standing import Standing

LOOKED_AT = 20_000
"""Entries at the end of the log among which one that was made before a crash is looked for."""


class Chronicle(Protocol):
    """What a job needs of an audit log."""

    def checkpoint(self) -> bytes:
        """Return the signed checkpoint of all entries."""
        ...

    def prove(self, checkpoint: bytes, seen: int) -> tuple[bytes, ...]:
        """Return the proof that the log of a checkpoint begins with the one of `seen` entries, or raise Refusal."""
        ...

    def planned(self, plan: bytes) -> None:
        """Log a plan before it is offered."""
        ...

    def closed(self, job: str, number: int, attempt: int, devices: Sequence[str]) -> None:
        """Log commitments to the participations of a round."""
        ...

    def released(self, release: bytes) -> None:
        """Log a signed RELEASE before it is announced."""
        ...

    def barred(self, device: str, standing: Standing) -> None:
        """Log that a device takes part no more, before it is told."""
        ...


class NoChronicle:
    """The empty log, for simulations: nothing is written.

    Args:
        checkpoint: its signed checkpoint.
    """

    def __init__(self, checkpoint: bytes) -> None:
        self._checkpoint = checkpoint

    def checkpoint(self) -> bytes:
        """Return the signed checkpoint of no entries."""
        return self._checkpoint

    def prove(self, checkpoint: bytes, seen: int) -> tuple[bytes, ...]:  # noqa: ARG002 - there is one checkpoint
        """Return the empty proof, or refuse by name a device that saw entries."""
        return from_empty(seen)

    def planned(self, plan: bytes) -> None:
        """Write nothing."""

    def closed(self, job: str, number: int, attempt: int, devices: Sequence[str]) -> None:
        """Write nothing."""

    def released(self, release: bytes) -> None:
        """Write nothing."""

    def barred(self, device: str, standing: Standing) -> None:
        """Write nothing."""


class AuditChronicle:
    """The audit log of a tenant.

    Args:
        log: open for writing.
        salts: of the commitments.
        clock: aggregator time in whole seconds.
    """

    def __init__(self, log: AuditLog, salts: Salts, clock: Callable[[], int]) -> None:
        self._log, self._salts, self._clock = log, salts, clock
        self._known = {(entry.kind, entry.digest) for entry in log.read(max(0, log.size - LOOKED_AT), log.size)}

    def checkpoint(self) -> bytes:
        """Return the signed checkpoint of all entries."""
        return self._log.checkpoint()

    def prove(self, checkpoint: bytes, seen: int) -> tuple[bytes, ...]:
        """Return the proof that the log of a checkpoint begins with the one of `seen` entries.

        Raises:
            Refusal: `LogBehind`.
        """
        return self._log.consistency(seen, opened(Envelope.decode(checkpoint), Checkpoint).size)

    def planned(self, plan: bytes) -> None:
        """Log a plan."""
        self.write(entries.of_plan(self._clock(), plan))

    def closed(self, job: str, number: int, attempt: int, devices: Sequence[str]) -> None:
        """Log one salted commitment per device."""
        now, subject = self._clock(), entries.attempt(job, number, attempt)
        self.write(
            *(
                entries.of_participation(now, subject, self._salts.commit(device, job, number, attempt))
                for device in devices
            )
        )

    def released(self, release: bytes) -> None:
        """Log a RELEASE."""
        self.write(entries.of_release(self._clock(), release))

    def barred(self, device: str, standing: Standing) -> None:
        """Log that a device takes part no more under its key; once, however often it comes."""
        self.write(entries.of_bar(self._clock(), device, standing.identity, standing.barred))

    def turned(self, roles: bytes, key: SigningKey) -> None:
        """Log a roles document, and sign with the key that it names from here on."""
        self.write(entries.of_roles(self._clock(), roles))
        self._log.sign_with(key)

    def write(self, *found: AuditEntry) -> None:
        """Write the entries that are not there yet, all at once."""
        fresh = [entry for entry in found if (entry.kind, entry.digest) not in self._known]
        if fresh:
            self._log.append(*fresh)
            self._known |= {(entry.kind, entry.digest) for entry in fresh}
