"""Enrols a device over its link: asks, waits for a person to approve, and writes what it was given.

It may be stopped or lose power at any moment: run again it asks with the same bytes.
"""

import ssl
import time
from collections.abc import Callable
from pathlib import Path

from accord import prg
from accord.entropy import Entropy, SystemEntropy
from accord.errors import CodecError, Refusal, SignatureError, UsageError
from accord.files import DISK, FolderLock, make_folder, read_private
from accord.link import Link
from accord.link.mqtt import MqttLink
from accord.values import dataclass
from accord.wire import topics
from accord.wire.enrolment import Invite
from edge_sdk.config import CLOCK, DeviceConfig
from edge_sdk.config_file import CONFIG, STRAIGHT, Way, Work, write
from edge_sdk.enrolment import Trust, given, kept, request, serial
from edge_sdk.journal import DiskRecords
from edge_sdk.keystore import CA, KEYS, Credentials, Keystore
from edge_sdk.patience import Patience
from edge_sdk.reach import Reach
from edge_sdk.timekeeper import Timekeeper

Told = Callable[[str, str], None]
LISTENS = 0.5  # seconds


@dataclass(frozen=True, kw_only=True)
class Done:
    """How it ended: the certificate's serial number, and where the configuration lies."""

    device: str
    serial: int
    config: Path
    before: bool = False


def ask(
    link: Link,
    letter: bytes,
    password: str,
    trust: Trust,
    *,
    told: Told,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
) -> Credentials | None:
    """Ask until there is an answer that holds; None if none came in `timeout` seconds.

    Answers that do not hold are told by name, and this goes on: whoever sends them must not keep a device out.

    Args:
        link: connected as the device.
        letter: the request.
        password: at the broker.
        trust: whom the device believes.
        told: called with the name and a sentence for what goes on.
        timeout: seconds.
        clock: monotonic seconds.

    Raises:
        Refusal: `Declined`, enrolment said no.
    """
    inbox, outbox = (topics.down(trust.tenant, trust.device, "rsp"), topics.up(trust.tenant, trust.device, "req"))
    link.subscribe(inbox)
    link.publish(outbox, letter)
    told("Waiting", f"request {prg.digest(letter).hex()[:12]} waits for `accord fleet approve {trust.device}`")
    patience, until = Patience(clock()), clock() + timeout
    while clock() < until:
        delivery = link.receive(LISTENS)
        if delivery is None:
            if patience.over(clock()):
                link.publish(outbox, letter)
            continue
        if delivery.topic != inbox:
            continue
        try:
            return given(delivery.payload, letter, password, trust)
        except Refusal as refusal:
            if refusal.reason == "Declined":
                raise
            told(refusal.reason, refusal.detail)
        except SignatureError as error:
            told("BadSignature", str(error))
        except CodecError as error:
            told("BadMessage", str(error))
    return None


def enrol(
    file: Path,
    state: Path,
    work: Work,
    *,
    told: Told,
    timeout: float,
    way: Way = STRAIGHT,
    entropy: Entropy | None = None,
) -> Done | None:
    """Enrol the device of an invitation file; None if nobody answered in time.

    Args:
        file: the invitation.
        state: the device's state folder, made if missing.
        work: what the configuration shall say of bundle, rows, limits and the broker's sessions.
        told: called with the name and a sentence for what goes on.
        timeout: seconds to wait for the answer.
        way: to the broker, where that is not a straight one.
        entropy: of the keys; the system's if None.

    Raises:
        Refusal: `Declined`.
        CodecError: the file is no invitation.
        UsageError: the state folder holds another enrolment.
        FileError: a file can't be read or written, or the device is running.
        LinkError: the broker can't be reached or refuses us.
    """
    entropy = SystemEntropy() if entropy is None else entropy
    data = read_private(file, Invite.LIMIT)
    try:
        invite = Invite.decode(data)
    except CodecError as error:
        raise UsageError(f"{file} is no invitation ({error}): ask for it again") from error
    lock = FolderLock(make_folder(state))
    try:
        return _enrolled(data, invite, state, work, told=told, timeout=timeout, way=way, entropy=entropy)
    finally:
        lock.close()


def _enrolled(
    data: bytes, invite: Invite, state: Path, work: Work, *, told: Told, timeout: float, way: Way, entropy: Entropy
) -> Done | None:
    DISK.sweep(state)
    keystore = Keystore(state / KEYS)
    reach = _reach(invite, keystore, way, work.session)
    letter = request(data, state, keystore, entropy, csr=lambda: _csr(invite, keystore, entropy))
    before = keystore.complete
    found: Credentials | None = keystore.load() if before else None
    if found is None:
        trust = _trust(state, invite.tenant, invite.device, invite.job, invite.root)
        # Without a certificate of our own, which is what we ask for.
        link = MqttLink(reach.address(invite.device, invite.password, certified=False), entropy=entropy)
        try:
            found = ask(link, letter, invite.password, trust, told=told, timeout=timeout)
        finally:
            link.close()
        if found is None:
            return None
        keystore.save(found)
    path = state / CONFIG
    if not DISK.exists(path):
        write(path, invite, work, way)
    return Done(device=invite.device, serial=serial(found.certificate), config=path, before=before)


def renew(config: DeviceConfig, path: Path, *, told: Told, timeout: float) -> Done | None:
    """Take up a certificate that was renewed; None if nobody answered in time.

    Args:
        config: of an enrolled device.
        path: where it was read from.
        told: as for `enrol`.
        timeout: seconds to wait for the answer.

    Raises:
        Refusal: `Declined`.
        UsageError: the device was not enrolled with an invitation.
        FileError: a file can't be read or written, or the device is running.
        LinkError: the broker can't be reached or refuses us.
    """
    lock = FolderLock(make_folder(config.state))
    try:
        return _renewed(config, path, told=told, timeout=timeout)
    finally:
        lock.close()


def _renewed(config: DeviceConfig, path: Path, *, told: Told, timeout: float) -> Done | None:
    asked = kept(config.state)
    if asked is None:
        raise UsageError(f"{config.state} holds no request: the device was not enrolled with `accord device enrol`")
    keystore = Keystore(config.keys)
    had = keystore.load()
    trust = _trust(config.state, config.tenant, config.device, config.job, had.root)
    link = MqttLink(config.reach.address(config.device, had.password), entropy=SystemEntropy())
    try:
        found = ask(link, asked.letter, had.password, trust, told=told, timeout=timeout)
    finally:
        link.close()
    if found is None:
        return None
    newer = serial(found.certificate) > serial(had.certificate)
    if newer:
        keystore.renew(found)
    return Done(
        device=config.device, serial=serial((found if newer else had).certificate), config=path, before=not newer
    )


def _trust(state: Path, tenant: str, device: str, job: str, root: bytes) -> Trust:
    ledger = DiskRecords(state, job).ledger()
    now = Timekeeper(state / CLOCK).moment().now
    return Trust(tenant=tenant, device=device, root=root, now=now, ledger=ledger)


def _reach(invite: Invite, keystore: Keystore, way: Way, session: str) -> Reach:
    """Return how to reach the broker; the CA in the invitation is pinned from now on."""
    if invite.ca:
        keystore.pin(ssl.DER_cert_to_PEM_cert(invite.ca).encode())
    return Reach(
        host=invite.host,
        port=invite.port,
        insecure=not invite.ca,
        ca=keystore.folder / CA if invite.ca else None,
        server_name=way.server_name,
        websocket=way.websocket,
        proxy=way.proxy,
        proxy_login=way.proxy_login,
        session=session,
    )


def _csr(invite: Invite, keystore: Keystore, entropy: Entropy) -> bytes:
    """Return a request for a TLS certificate; empty where the device logs in by password alone."""
    if not invite.ca:
        return b""
    try:
        from accord.link import tls_key  # noqa: PLC0415 - a device without `[mtls]` has no X.509
    except ImportError:
        return b""
    child = entropy.child("tls")
    return tls_key.request(keystore.keep_tls_key(lambda: tls_key.private(tls_key.new_key(child))), invite.device)
