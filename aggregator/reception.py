"""Takes devices' requests for a certificate, keeps them for a person, and hands on the answers.

It can't answer by itself: the aggregator has no enrolment key, and a device believes no other. See docs/protocol.md,
section 17.
"""

import time
from collections.abc import Callable, Iterator

from accord.errors import CodecError, Refusal
from accord.wire.enrolment import ENROLMENT, LARGEST_LETTER, Enrol, Enrolled
from accord.wire.envelope import Envelope
from accord.wire.messages import Certificate, opened
from aggregator.audit import entries
from aggregator.chronicle import AuditChronicle
from aggregator.standing import Standing
from aggregator.tables import devices, requests
from aggregator.tables.requests import ENROL, Asked
from aggregator.unit_of_work import UnitOfWork

PAUSE = 5.0
"""Seconds that a device waits before it may ask with other bytes than before."""
MOST_WAITING = 10_000
"""Requests that wait at once, of all devices."""


class Reception:
    """The requests of one tenant's devices.

    Args:
        work: the transaction of the aggregator's store.
        tenant: its name.
        chronicle: where a certificate is logged before it is handed on.
        monotonic: seconds.
        clock: wall time in whole seconds.
    """

    def __init__(
        self,
        work: UnitOfWork,
        tenant: str,
        chronicle: AuditChronicle,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], int],
    ) -> None:
        self._work, self._tenant, self._chronicle = work, tenant, chronicle
        self._monotonic, self._clock = monotonic, clock
        self._fresh: dict[str, float] = {}
        self._waiting: set[str] = set()

    def take(self, device: str, data: bytes) -> bytes | None:
        """Keep a request, and return the answer if there is one already.

        Raises:
            Refusal: `TooLarge`, `ForeignTopic`, `TooOften` or `TooManyWaiting`; nothing was kept.
            CodecError: the letter is not a request.
            SignatureError: it is not signed by the key that it names.
        """
        if len(data) > LARGEST_LETTER:
            raise Refusal("TooLarge", f"a request of {len(data)} bytes; at most {LARGEST_LETTER} are read")
        letter = Envelope.decode(data)
        request = opened(letter, Enrol)
        if not device == letter.sender == request.device or letter.recipient != ENROLMENT:
            raise Refusal("ForeignTopic", f"{device} carries a request of {letter.sender} to {letter.recipient}")
        letter.check(request.identity)
        with self._work.reading() as connection:
            rows = requests.of_device(connection, device, ENROL)
            known = next((row for row in rows if row.data == data), None)
            full = known is None and not rows and requests.count_waiting(connection) >= MOST_WAITING
        if full:
            raise Refusal(
                "TooManyWaiting", f"{MOST_WAITING} requests wait already: `accord fleet approve` answers them"
            )
        if known is None:
            self._keep(device, data)
        elif known.answer is not None:
            return self._handed(known)
        self._waiting.add(device)
        return None

    @property
    def waiting(self) -> frozenset[str]:
        """The devices that have asked since this process began, and wait."""
        return frozenset(self._waiting)

    def answered(self) -> tuple[tuple[str, bytes], ...]:
        """Return the answers that have come since: to devices that wait, and certificates that were renewed."""
        return (*self._answered(), *self._renewed())

    def _renewed(self) -> Iterator[tuple[str, bytes]]:
        """Hand on once, unasked, what was renewed: a device that is away asks by itself."""
        with self._work.reading() as connection:
            rows = requests.renewed(connection)
        for row in rows:
            yield row.device, self._handed(row)
            requests.handed(self._work.writing(), row.id)
            self._work.commit()

    def _answered(self) -> tuple[tuple[str, bytes], ...]:
        if not self._waiting:
            return ()
        with self._work.reading() as connection:
            still = {row.device for row in requests.waiting(connection)}
            done = sorted(self._waiting - still)
            rows = [row for device in done for row in requests.of_device(connection, device, ENROL)]
        self._waiting &= still
        return tuple((row.device, self._handed(row)) for row in rows if row.answer is not None)

    def _keep(self, device: str, data: bytes) -> None:
        now = self._monotonic()
        if now < self._fresh.get(device, now):
            raise Refusal("TooOften", f"{device} asks with other bytes every moment")
        self._fresh[device] = now + PAUSE
        requests.ask_instead(self._work.writing(), device, ENROL, data, float(self._clock()))
        self._work.commit()

    def _handed(self, row: Asked) -> bytes:
        """Log a certificate, and note whose device it is, before it leaves."""
        answer = row.answer or b""
        if row.status in (requests.APPROVED, requests.RENEWED):
            try:
                data = opened(Envelope.decode(answer), Enrolled).certificate
                certificate = opened(Envelope.decode(data), Certificate)
            except CodecError:
                return answer  # whoever wrote it is not enrolment: the device will say so
            self._chronicle.write(entries.of_enrolment(self._clock(), data))
            self._note(row.device, certificate)
        return answer

    def _note(self, device: str, certificate: Certificate) -> None:
        connection = self._work.writing()
        known = devices.standing(connection, device)
        newer = known is None or (certificate.serial > known.serial and certificate.identity != known.identity)
        if newer:
            fresh = Standing(serial=certificate.serial, identity=certificate.identity, sequence=0, birth=0)
            devices.stood(connection, device, fresh, tenant=self._tenant, time=float(self._clock()))
        self._work.commit()
