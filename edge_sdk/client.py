"""The device as a process: connects, trains when a round is open, and survives what the network does."""

import time
from collections.abc import Callable

import numpy as np

from accord.bundle.archive import read_bundle
from accord.entropy import SystemEntropy
from accord.errors import CodecError, UsageError
from accord.files import FileError, read_limited, read_secret
from accord.link import Link
from accord.link.mqtt import Address, MqttLink
from accord.link.port import Will
from accord.runtimes import check_golden, open_runtime
from accord.signing import SigningKey
from accord.wire import topics
from accord.wire.envelope import Envelope
from accord.wire.messages import Beat, Roles, State, opened
from edge_sdk.agent import Agent
from edge_sdk.config import DeviceConfig
from edge_sdk.journal import DiskRecords
from edge_sdk.patience import Patience
from edge_sdk.rows import Rows
from edge_sdk.saved import FILES, Saved
from edge_sdk.session import Session
from edge_sdk.session_values import Finished, Identity, Refused
from edge_sdk.trainer import Trainer

LARGEST_BUNDLE = 1 << 28  # bytes
LARGEST_DOCUMENT = 65_536  # bytes
LARGEST_DATA = 1 << 31  # bytes


class EdgeClient:
    """A device: `with EdgeClient(config) as edge: edge.run()`.

    Args:
        config: where everything lies.
        told: called with every finished attempt and every refusal.

    Raises:
        UsageError: the rows do not fit.
        FileError: a file is missing, damaged or readable by others.
        Refusal: the bundle or a document does not hold.
        LinkError: the broker can't be reached or refuses us.
    """

    def __init__(self, config: DeviceConfig, told: Callable[[Finished | Refused], None] = lambda _effect: None) -> None:
        entropy = SystemEntropy()
        records = DiskRecords(config.state)
        root = _root(config)
        roles = read_limited(config.roles, LARGEST_DOCUMENT)
        named = opened(Envelope.decode(roles), Roles)
        bundle = read_bundle(
            read_limited(config.bundle, LARGEST_BUNDLE), limit=LARGEST_BUNDLE, publisher=named.publisher
        )
        runtime = open_runtime(bundle)
        check_golden(runtime, bundle)
        identity = Identity(
            device=config.device,
            tenant=config.tenant,
            key=SigningKey(read_secret(config.identity, 32)),
            certificate=read_limited(config.certificate, LARGEST_DOCUMENT),
            root=root,
            roles=roles,
        )
        session = Session(
            identity=identity,
            limits=config.limits,
            layout=runtime.layout,
            bundle_digest=bundle.digest,
            entropy=entropy,
            ledger=records.ledger(),
            now=int(time.time()),
        )
        trainer = Trainer(runtime, bundle.manifest.input_shape, _rows(config), entropy)
        self._birth = records.next_birth()
        state = topics.up(config.tenant, config.device, "state")
        password = read_limited(config.password, 1_024).decode().strip()
        self._link: Link = MqttLink(
            Address(host=config.host, port=config.port, client_id=config.device, password=password),
            entropy=entropy,
            will=Will(topic=state, payload=State(online=False, birth=self._birth).encode()),
        )
        self._agent = Agent(
            link=self._link, session=session, worker=trainer, records=records, job=config.job, told=self._finished
        )
        self._config, self._told, self._entropy, self._records = config, told, entropy, records
        self._beat = topics.up(config.tenant, config.device, "beat")
        self._stopping = False

    def __enter__(self) -> "EdgeClient":  # noqa: PYI034 - typing.Self needs Python 3.11; devices have 3.10
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the broker in an orderly way."""
        self._link.close()

    def stop(self) -> None:
        """Make `run` return after the delivery in hand; safe to call from a signal handler or another thread."""
        self._stopping = True

    def run(self) -> None:
        """Take part in rounds until `stop` is called."""
        connections, beat = self._link.connections, time.monotonic()
        self._agent.start(self._birth)
        self._agent.resume(self._saved())
        self._agent.wake()
        patience = Patience(time.monotonic())
        while not self._stopping:
            if self._link.connections != connections:
                connections = self._link.connections
                self._agent.start(self._birth)
                self._agent.wake()
                self._agent.ask_again()  # what was on its way when the connection broke may be lost
            delivery = self._link.receive(0.5)
            now = time.monotonic()
            if delivery is not None:
                self._agent.handle(delivery)
                patience.heard(time.monotonic())
            elif patience.over(now):
                self._agent.ask_again()
            if now >= beat:
                self._send_beat()
                jitter = int.from_bytes(self._entropy(2), "little") / 2**16
                beat = now + self._config.heartbeat * (0.5 + jitter)

    def _saved(self) -> Saved:
        """Return the attempt that was under way; a damaged one is told and left."""
        try:
            return self._records.saved()
        except FileError as error:
            self._records.forget(tuple(FILES))
            self._told(Refused(reason="CannotResume", detail=str(error)))
            return Saved()

    def _send_beat(self) -> None:
        traffic = self._agent.traffic
        message = Beat(
            bytes_up=self._link.bytes_up,
            bytes_down=self._link.bytes_down,
            payload_up=traffic.payload_up,
            payload_down=traffic.payload_down,
        )
        self._link.publish(self._beat, message.encode(), qos=0)

    def _finished(self, effect: Finished | Refused) -> None:
        if isinstance(effect, Finished):
            self._send_beat()
        self._told(effect)


def _root(config: DeviceConfig) -> bytes:
    text = read_limited(config.root, 256).decode("ascii", "replace").strip()
    try:
        root = bytes.fromhex(text)
    except ValueError:
        root = b""
    if len(root) != 32:
        raise CodecError(f"{config.root} does not hold a public key of 64 hexadecimal characters")
    return root


def _rows(config: DeviceConfig) -> Rows:
    """Read the device's own rows; pickles are never loaded."""
    if config.data.stat().st_size > LARGEST_DATA:
        raise UsageError(f"{config.data} is larger than {LARGEST_DATA} bytes")
    try:
        with np.load(config.data, allow_pickle=False) as found:
            return Rows(**{name: found[name] for name in ("x_train", "y_train", "x_test", "y_test")})
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(f"{config.data} is not an .npz with x_train, y_train, x_test and y_test: {error}") from error
