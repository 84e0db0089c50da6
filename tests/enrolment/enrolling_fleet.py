"""A fleet in parts on a disk, its registrar at any time, and devices that ask it."""

from dataclasses import dataclass, field
from pathlib import Path

from accord.entropy import SeededEntropy
from accord.files import DISK, Disk
from accord.files.memory import MemoryFiles
from accord.link import tls_key
from accord.wire.enrolment import Invite
from accord.wire.envelope import Envelope
from accord.wire.messages import Revocations, opened
from aggregator.fleet_making import create_in_parts
from aggregator.registrar import Registrar
from edge_sdk.enrolment import Trust, given, request
from edge_sdk.keystore import Credentials, Keystore
from edge_sdk.session_values import Ledger

NOW, DAY = 1_800_000_000, 86_400
NAME = "pi-7"


@dataclass
class Office:
    """Enrolment's folder, with the transport CA's beside it; each call is a process of its own."""

    path: Path
    disk: Disk = DISK
    now: int = NOW
    calls: int = field(default=0)

    def open(self) -> Registrar:
        self.calls += 1
        transport = self.path.parent / "transport"
        return Registrar(self.path, SeededEntropy(self.calls), self.now, self.disk, transport=transport)

    def invite(self, name: str = NAME, hours: int = 24) -> Invite:
        registrar = self.open()
        try:
            return registrar.invite(name, host="127.0.0.1", port=1883, job="job", expires=self.now + hours * 3_600)
        finally:
            registrar.close()

    def decide(self, letter: bytes) -> tuple[str, int, bytes]:
        """Return the reason, the serial number and the answer."""
        registrar = self.open()
        try:
            found = registrar.decide(letter, self.now + 90 * DAY)
        finally:
            registrar.close()
        return found.reason, found.serial, found.answer.data

    def revoke(self, name: str = NAME) -> tuple[int, ...]:
        registrar = self.open()
        try:
            return registrar.revoke(name)
        finally:
            registrar.close()

    def list(self) -> Revocations:
        registrar = self.open()
        try:
            return opened(Envelope.decode(registrar.parcel().revocations), Revocations)
        finally:
            registrar.close()


def office(folder: Path) -> Office:
    create_in_parts(folder / "fleet", "t", NOW + 365 * DAY, SeededEntropy(9), now=NOW)
    return Office(folder / "fleet" / "enrolment")


class Card:
    """A device's card: its state folder in memory. Without `tls` it has nothing that makes X.509."""

    def __init__(self, number: int, *, tls: bool = True) -> None:
        self.tls = tls
        self.files, self.state = MemoryFiles(), Path("/state")
        self.disk = Disk(self.files)
        self.entropy = SeededEntropy(number)

    @property
    def keystore(self) -> Keystore:
        return Keystore(self.state / "keys", self.disk)

    def ask(self, invite: Invite) -> bytes:
        return request(
            invite.encode(),
            self.state,
            self.keystore,
            self.entropy,
            self.disk,
            csr=lambda: self.csr(invite.device) if self.tls else b"",
        )

    def csr(self, name: str) -> bytes:
        """Make the card's TLS key, once, and ask for a certificate."""
        made = tls_key.private(tls_key.new_key(self.entropy.child("tls")))
        return tls_key.request(self.keystore.keep_tls_key(lambda: made), name)

    def take(self, invite: Invite, answer: bytes, *, now: int = NOW, ledger: Ledger | None = None) -> Credentials:
        trust = Trust(tenant=invite.tenant, device=invite.device, root=invite.root, now=now, ledger=ledger or Ledger())
        return given(answer, self.ask(invite), invite.password, trust)
