"""What may keep a device from taking part: one finding per cause, with what to do. It changes nothing.

The state folder is probed with one small file, which is removed again.
"""

import importlib
import importlib.metadata
import os
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from accord.bundle.archive import read_bundle
from accord.errors import AccordError
from accord.files import DISK, FileError, read_limited, read_private, read_secret
from accord.link import LinkError
from accord.link.greeting import greeted
from accord.plan import CLASSIC, STRICT
from accord.runtimes import check_golden, open_runtime
from accord.runtimes.opening import chosen
from accord.secagg.authority import trusted_roles
from accord.signing import SEED_SIZE, SigningKey
from accord.values import dataclass
from accord.wire.envelope import Envelope
from accord.wire.messages import Certificate, Roles, opened
from edge_sdk import metered
from edge_sdk.clock import ADVICE, ClockState, Moment
from edge_sdk.config import DeviceConfig
from edge_sdk.journal import DiskRecords
from edge_sdk.keystore import LARGEST_DOCUMENT, LARGEST_PASSWORD, read_root
from edge_sdk.readings import MB, Readings
from edge_sdk.roles import newer
from edge_sdk.session_values import Limits
from edge_sdk.timekeeper import Timekeeper

RUNTIMES = (
    ("onnxruntime", "onnxruntime"),
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
)
"""Import names and package names."""
REACHABLE = 3.0  # seconds to wait for the broker
ENDS_SOON = 14
"""Days before its end from which on a roles document is spoken of."""
SPARE = 50 * MB  # bytes that stay free beside the examples
LARGEST_BUNDLE = 1 << 28  # bytes
_OLD_ARM = ("armv6l", "armv7l")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at; `fix` is empty unless something must be done."""

    name: str
    found: str
    fix: str = ""


def examine(config: DeviceConfig | None, root: Path = Path("/")) -> Iterator[Finding]:
    """Yield what is found, one line after another.

    Args:
        config: the device's; without it only the machine is looked at.
        root: what stands for `/` when sensors are read.
    """
    yield _architecture(os.uname().machine, 8 * struct.calcsize("P"))
    yield _python(sys.version_info[:3])
    yield from _runtimes()
    yield _voltage(Readings(Path(), root).weak_supply())
    if config is None:
        return
    yield _state(config)
    yield _space(config)
    moment = _moment(config)
    yield Finding(name="clock", found=f"{time.strftime('%F %T', time.gmtime())} UTC", fix=ADVICE[moment.state])
    yield from _credentials(config, moment.now)
    yield _bundle(config)
    yield _broker(config)
    yield _metered(config.constraints.network_type, root)
    yield _limits(config.limits)
    yield _constraints(config, root)


def _architecture(machine: str, bits: int) -> Finding:
    fix = ""
    if bits == 32 and machine in ("aarch64", "x86_64"):
        fix = "a 32-bit Python on a 64-bit processor: install the 64-bit system, there are no runtimes for 32 bits"
    elif machine in _OLD_ARM:
        fix = "no runtime has packages for 32-bit ARM but tflite-runtime on Python 3.11: install a 64-bit system"
    return Finding(name="architecture", found=f"{machine}, {bits} bits", fix=fix)


def _python(version: tuple[int, ...]) -> Finding:
    fix = "" if version >= (3, 10) else "Python 3.10 or newer is needed"
    return Finding(name="python", found=".".join(map(str, version)), fix=fix)


def _runtimes() -> Iterator[Finding]:
    """Import each runtime: one that is installed and does not load must be repaired."""
    for module, package in RUNTIMES:
        name = f"runtime {package}"
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name=name, found="not installed")
            continue
        try:
            if module == "onnxruntime":
                from accord.runtimes.onnx import load_onnxruntime  # noqa: PLC0415 - its telemetry is off from the start

                load_onnxruntime()
            else:
                importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - a broken package may raise anything
            yield Finding(name=name, found=f"{version} does not load: {error}", fix=f"pip install --force {package}")
        else:
            yield Finding(name=name, found=version, fix=_fits(package, importlib.metadata.version("numpy")))


def _fits(package: str, numpy: str) -> str:
    """Return what to do where a runtime does not work with this version of NumPy."""
    if package == "tflite-runtime" and int(numpy.partition(".")[0]) > 1:
        return f"it does not work with NumPy {numpy}: pip install 'accord-fl[tflite]' in an environment of its own"
    return ""


def _voltage(weak: bool | None) -> Finding:
    if weak is None:
        return Finding(name="voltage", found="not measured here")
    fix = "use the power supply that the board asks for: a weak one corrupts cards" if weak else ""
    return Finding(name="voltage", found="too low" if weak else "fine", fix=fix)


def _state(config: DeviceConfig) -> Finding:
    folder = config.state
    probe = folder / ".doctor"
    try:
        if not DISK.exists(folder):
            return _to_be_made(folder)
        mode = DISK.system.status(folder).mode
        if mode & 0o077:
            return Finding(name="state folder", found=f"{folder} is open to others", fix=f"chmod 700 {folder}")
        DISK.write_atomic(probe, b"")
        DISK.remove(probe)
    except FileError as error:
        return Finding(name="state folder", found="can't be written to", fix=str(error))
    return Finding(name="state folder", found=f"{folder} can be written to")


def _to_be_made(folder: Path) -> Finding:
    above = next(parent for parent in folder.parents if DISK.exists(parent))
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        fix = f"choose a [device] state that can be made: nothing can be made in {above}"
        return Finding(name="state folder", found=f"{folder} can't be made", fix=fix)
    return Finding(name="state folder", found=f"{folder} is made when the device first runs")


def _space(config: DeviceConfig) -> Finding:
    folder = config.state
    while not folder.exists():
        folder = folder.parent
    try:
        free = DISK.space(folder).free
        used = sum(DISK.size(config.store / name) for name in DISK.names(config.store))
    except FileError as error:
        return Finding(name="disk space", found="can't be measured", fix=str(error))
    return _room(free, max(0, config.examples.max_bytes - used) + SPARE)


def _room(free: float, needed: float) -> Finding:
    fix = "" if free >= needed else f"free {(needed - free) / MB:.0f} MB, or lower [examples] max_bytes"
    return Finding(name="disk space", found=f"{free / MB:.0f} MB free, {needed / MB:.0f} MB may be needed", fix=fix)


def _moment(config: DeviceConfig) -> Moment:
    try:
        return Timekeeper(config.clock).peek()
    except FileError:
        return Moment(now=int(time.time()), state=ClockState.GOOD)  # the state folder's own line tells


def _credentials(config: DeviceConfig, now: int) -> Iterator[Finding]:
    try:
        key = SigningKey(read_secret(config.identity, SEED_SIZE))
        yield Finding(name="identity key", found=f"{key.public.hex()[:16]}...")
    except AccordError as error:
        key = None
        yield Finding(name="identity key", found="can't be used", fix=f"{error}, or enrol the device")
    try:
        read_private(config.password, LARGEST_PASSWORD)
        yield Finding(name="password", found="is there, and private")
    except AccordError as error:
        yield Finding(name="password", found="can't be used", fix=str(error))
    try:
        roles = _newest_roles(config, now)
        yield _days_left(roles, now)
        yield _certificate(config, roles, key, now)
    except AccordError as error:
        yield Finding(name="roles and certificate", found="do not hold", fix=f"{error}: enrol the device anew")


def _newest_roles(config: DeviceConfig, now: int) -> Roles:
    root, heard = read_root(config.root), None
    if DISK.exists(config.state):
        heard = DiskRecords(config.state, config.job).roles()
    data = newer(read_limited(config.roles, LARGEST_DOCUMENT), heard, root, config.tenant)
    return trusted_roles(data, root, config.tenant, now=now, seen=0)


def _days_left(roles: Roles, now: int) -> Finding:
    days = (roles.expires - now) // 86_400
    found = f"version {roles.version}, signed by the fleet's root, {days} days left"
    fix = "the device takes up the next one by itself while it runs; ask whoever holds the root: `accord fleet roles`"
    return Finding(name="roles", found=found, fix=fix if days < ENDS_SOON else "")


def _certificate(config: DeviceConfig, roles: Roles, key: SigningKey | None, now: int) -> Finding:
    letter = Envelope.decode(read_limited(config.certificate, LARGEST_DOCUMENT))
    letter.check(roles.enrolment)
    found = opened(letter, Certificate)
    fix = ""
    if found.device != config.device:
        fix = f"it is {found.device}'s: set [device] id, or enrol the device anew"
    elif key is not None and found.identity != key.public:
        fix = "it is for another key: enrol the device anew"
    elif found.expires <= now:
        fix = "it has ended: enrol the device anew"
    days = (found.expires - now) // 86_400
    return Finding(name="certificate", found=f"{found.device}, {days} days left", fix=fix)


def _bundle(config: DeviceConfig) -> Finding:
    try:
        bundle = read_bundle(read_limited(config.bundle, LARGEST_BUNDLE), limit=LARGEST_BUNDLE, publisher=None)
        runtime = open_runtime(bundle)
        check_golden(runtime, bundle)
    except AccordError as error:
        return Finding(name="bundle", found="can't be trained here", fix=str(error))
    return Finding(name="bundle", found=f"{bundle.manifest.model} computes as its publisher says, in {chosen(bundle)}")


def _broker(config: DeviceConfig) -> Finding:
    """Connect, through a proxy and with TLS if so told, and send nothing."""
    try:
        address = config.reach.address(config.device, "")
    except AccordError as error:
        return Finding(name="broker", found="can't be asked", fix=str(error))
    try:
        with greeted(address, REACHABLE):
            return Finding(name="broker", found=f"{address.shown} answers{_secured(config)}")
    except LinkError as error:
        fix = f"look at [broker], the network and the firewall: {error}"
        return Finding(name="broker", found=f"{address.shown} does not answer as it should", fix=fix)


def _secured(config: DeviceConfig) -> str:
    if config.reach.insecure:
        return ", without TLS: passwords can be read on the way"
    return ", with TLS and a certificate of our own" if config.reach.certified else ", with TLS"


def _metered(network_type: str, root: Path) -> Finding:
    """Say how each way to a network is known to be metered or not: who asks for `unmetered` waits where it is not."""
    found = metered.ways(root)
    if not found:
        return Finding(name="metered", found="the routes can't be read" if found is None else "no way to a network")
    said = {True: "metered", False: "not metered", None: "unknown"}
    told = "; ".join(f"{way.interface} {said[way.metered]}: {way.source}" for way in found)
    fix = ""
    if network_type == "unmetered" and any(way.metered is None for way in found):
        fix = "till root tells it the device rests: install deploy/networkmanager/90-accord-metered (docs/device.md)"
    return Finding(name="metered", found=told, fix=fix)


def _limits(limits: Limits) -> Finding:
    """Say below what this device refuses a plan or roster, whoever signed it."""
    parts = [
        f"cohorts of {limits.smallest_cohort} or more",
        "profile strict alone" if limits.profile == STRICT else "profile standard or strict",
        f"keys of {limits.keys} alone" if limits.keys != CLASSIC else "",
        f"{limits.smallest_threshold} % of them to open a secret" if limits.smallest_threshold else "",
        f"complete graphs up to {limits.complete_up_to} members",
        f"{limits.max_attempts} attempts of a round",
        f"{limits.max_epochs} epochs",
        f"updates of up to {limits.largest_update / 1e6:g} MB",
        "updates without masks, too" if limits.allow_unmasked else "",
    ]
    return Finding(name="limits", found="it takes part in " + ", ".join(filter(None, parts)))


def _constraints(config: DeviceConfig, root: Path) -> Finding:
    unmet = config.constraints.unmet(Readings(config.state, root)())
    found = "; ".join(f"{item.name}: {item.detail}" for item in unmet)
    return Finding(name="constraints", found=f"the device rests now: {found}" if unmet else "hold now")
