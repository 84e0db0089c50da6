"""How a running device takes up a certificate that enrolment has renewed: when it asks, and what it takes.

It asks with the request that it was enrolled with, which is answered anew; the answer may also come unasked. A device
that was not enrolled with an invitation has no request, and never asks. See docs/protocol.md, section 17.3.
"""

from dataclasses import replace
from pathlib import Path

from accord.entropy import Entropy
from accord.errors import CodecError, Refusal, SignatureError
from accord.files import DISK, Disk
from accord.wire.enrolment import Declined, Enrolled
from accord.wire.envelope import Envelope
from accord.wire.messages import TAG_OF, Certificate, Roles, opened
from edge_sdk.acceptance import check_own_certificate
from edge_sdk.enrolment import Trust, given, kept, serial
from edge_sdk.keystore import CERTIFICATE, KEYS, Keystore
from edge_sdk.session_values import Identity, Ledger

DAY = 86_400  # seconds
NEAR = 30 * DAY
"""Seconds before the certificate ends from which on the device asks often."""
EACH, OFTEN = DAY, DAY / 24
"""Seconds between two questions, long before the certificate ends and near its end, give or take half."""
ANSWERS = frozenset((TAG_OF[Enrolled], TAG_OF[Declined]))


class Renewing:
    """One device's certificate.

    One whose certificate does not lie where enrolment writes it is renewed by whoever put it there.

    Args:
        state: the device's state folder.
        certificate: the file that it was started with.
        entropy: spreads the questions of a fleet.
        now: seconds that never jump.
        disk: that it lies on.

    Raises:
        FileError: a file is damaged or can't be read.
        UsageError: the keystore is not whole.
    """

    def __init__(self, state: Path, certificate: Path, entropy: Entropy, now: float, disk: Disk = DISK) -> None:
        self._keystore, asked = Keystore(state / KEYS, disk), kept(state, disk)
        ours = asked is not None and certificate == self._keystore.folder / CERTIFICATE
        self._letter = asked.letter if asked is not None and ours else b""
        self._held = self._keystore.load() if ours else None
        self._waiting: Identity | None = None
        self._entropy, self._due = entropy, now

    def question(self, now: float, moment: int) -> bytes:
        """Return the request if it is time to send it, else nothing.

        Args:
            now: seconds that never jump.
            moment: aggregator time in seconds.
        """
        if self._held is None or now < self._due:
            return b""
        ends = opened(Envelope.decode(self._held.certificate), Certificate).expires
        wait = OFTEN if ends - moment <= NEAR else EACH
        self._due = now + wait * (0.5 + int.from_bytes(self._entropy(2), "little") / 2**16)
        return self._letter

    def answers(self, data: bytes) -> bool:
        """Return whether a letter is an answer to such a request; whether it holds, `take` says."""
        try:
            return Envelope.decode(data).tag in ANSWERS
        except CodecError:
            return False

    def take(self, data: bytes, identity: Identity, ledger: Ledger, now: int) -> None:
        """Write down a newer certificate, for `ready` to return; one that is not newer changes nothing.

        Args:
            data: the answer.
            identity: who we are.
            ledger: how far we have gone: documents never go back.
            now: aggregator time in seconds.

        Raises:
            Refusal: `Declined`, or the answer does not hold; the certificate before stays.
            CodecError: it is no answer.
            SignatureError: enrolment did not sign it.
            FileError: it can't be written.
        """
        if self._held is None:
            return
        seen = max(ledger.roles_version, opened(Envelope.decode(self._held.roles), Roles).version)
        trust = Trust(
            tenant=identity.tenant,
            device=identity.device,
            root=identity.root,
            now=now,
            ledger=replace(ledger, roles_version=seen),
        )
        found = given(data, self._letter, self._held.password, trust)
        if serial(found.certificate) <= serial(self._held.certificate):
            return
        self._keystore.renew(found)
        self._held = found
        self._waiting = replace(identity, certificate=found.certificate)

    def ready(self, roles: Roles, now: int) -> Identity | None:
        """Return once who we are with a renewed certificate, as soon as the roles document in force covers it.

        Args:
            roles: in force: enrolment may have another key by now, which a newer document names.
            now: aggregator time in seconds.
        """
        if self._waiting is None:
            return None
        try:
            check_own_certificate(self._waiting, roles, now)
        except (Refusal, SignatureError):
            return None
        found, self._waiting = self._waiting, None
        return found
