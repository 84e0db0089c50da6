"""The aggregator as a process: one job's rounds over MQTT, each written down as it closes."""

import json
import time
from collections.abc import Callable
from typing import Any

from accord.bundle.archive import read_bundle
from accord.entropy import SystemEntropy
from accord.errors import AccordError
from accord.files import append, make_folder, read_limited, write_atomic
from accord.ids import AGGREGATOR
from accord.link import Link
from accord.link.mqtt import Address, MqttLink
from accord.link.port import Will
from accord.plan import Task
from accord.prg import digest
from accord.update.snapshot import Snapshot, columns_of, unscaled
from accord.wire import topics
from accord.wire.messages import State
from aggregator.config import AggregatorConfig
from aggregator.coordinator import Coordinator
from aggregator.coordinator_values import Aborted, Closed, Log, Model, Settings, Start, Tick
from aggregator.fleet_folder import FleetFolder
from aggregator.job import Job, JobSettings
from aggregator.strategies.fedavg import FedAvg
from aggregator.transport import Notice, Transport

LARGEST_BUNDLE = 1 << 28  # bytes
SETTLED = 0.02  # seconds without a delivery after which pieces that were asked for go out
Told = Callable[[dict[str, Any]], None]


class AggregatorService:
    """One job over one broker.

    Args:
        config: where everything lies.
        told: called with a JSON-ready record of each round, abort and refusal.

    Raises:
        FileError: a file is missing, damaged or readable by others.
        LinkError: the broker can't be reached or refuses us.
    """

    def __init__(self, config: AggregatorConfig, told: Told) -> None:
        self._config, self._told = config, told
        self._state = make_folder(config.state)
        folder = FleetFolder(path=config.fleet)
        office = folder.office()
        entropy = SystemEntropy()
        data = read_limited(config.bundle, LARGEST_BUNDLE)
        bundle = read_bundle(data, limit=LARGEST_BUNDLE, publisher=None)
        columns = columns_of(bundle.manifest.input_shape)
        snapshot = Snapshot(params=bundle.params.copy(), scaling=unscaled(columns))
        self.job = Job(
            settings=JobSettings(
                rounds=config.rounds,
                devices=config.devices,
                devices_per_round=config.devices,
                cohorts=config.cohorts,
                floor=config.floor,
                training=config.training,
                task=Task(kind=config.task, outputs=bundle.manifest.outputs, target_exponent=0, transform="none"),
                profile="standard" if config.secure_aggregation else "off",
            ),
            layout=bundle.manifest.layout,
            exponents=bundle.manifest.exponents,
            snapshot=snapshot,
            columns=columns,
            strategy=FedAvg(),
        )
        params = snapshot.encode()
        self._objects = {digest(params): params}
        coordinator = Coordinator(
            office=office,
            settings=Settings(job=config.job, windows=config.windows, max_attempts=config.max_attempts),
            model=Model(
                version=0, params=params, digest=digest(params), bundle_digest=bundle.digest, bundle_size=len(data)
            ),
            layout=bundle.manifest.layout,
            clock=int(time.time()),
        )
        self._tenant = office.tenant
        birth = time.time_ns()
        state = topics.aggregator_state(office.tenant)
        password = read_limited(config.fleet / "passwords" / AGGREGATOR, 256).decode()
        self._link: Link = MqttLink(
            Address(host=config.host, port=config.port, client_id=AGGREGATOR, password=password),
            entropy=entropy,
            will=Will(topic=state, payload=State(online=False, birth=birth).encode()),
        )
        self._birth = State(online=True, birth=birth).encode()
        self._notices: list[Notice] = []
        self.transport = Transport(
            link=self._link,
            coordinator=coordinator,
            objects=self._objects,
            now=time.monotonic,
            clock=lambda: int(time.time()),
            told=self._noticed,
        )
        self._stopping = False

    def stop(self) -> None:
        """Make `run` return soon; safe to call from a signal handler."""
        self._stopping = True

    def close(self) -> None:
        """Leave the broker in an orderly way."""
        self._link.close()

    def run(self) -> None:
        """Wait for the devices, then run the job's rounds to the end, or until `stop` is called."""
        self.transport.start()
        self._link.publish(topics.aggregator_state(self._tenant), self._birth, retain=True)
        while not self._stopping and (request := self.job.request()) is not None:
            self._wait(self._all_here, self._config.windows.gather)
            started, before = time.monotonic(), self.transport.traffic()
            self._notices.clear()
            online = tuple(sorted(self.transport.coordinator.online))
            self.transport.step(Start(request=request, online=online, seed=SystemEntropy()(32)))
            self._wait(lambda: self._ended() is not None, None)
            ended = self._ended()
            if ended is None:
                return
            self._record(ended, request.purpose, time.monotonic() - started, before)
            if isinstance(ended, Closed):
                self._took(ended)
            elif request.purpose == "train":
                self.job.skip()
            else:
                raise AccordError(f"the {request.purpose} round could not be closed: {ended.reason}, {ended.detail}")

    def _all_here(self) -> bool:
        return len(self.transport.coordinator.online) >= self._config.devices

    def _took(self, closed: Closed) -> None:
        step = self.job.closed(closed)
        figures = {name: values for name, values in step.figures.items() if len(values) == 1}
        self._told({"event": "figures", "round": closed.round, "purpose": step.purpose, "figures": figures})
        if step.snapshot is None:
            return
        params = step.snapshot.encode()
        write_atomic(self._state / "model.params", params)
        self.transport.carry_out(*self.transport.coordinator.release(params, closed.round))
        self._objects.clear()
        self._objects[digest(params)] = params

    def _wait(self, done: Callable[[], bool], limit: float | None) -> None:
        """Handle deliveries until `done`, for `limit` seconds at most."""
        until = None if limit is None else time.monotonic() + limit
        connections = self._link.connections
        while not self._stopping and not done() and (until is None or time.monotonic() < until):
            delivery = self._link.receive(SETTLED)
            if delivery is not None:
                self.transport.handle(delivery)
            else:
                self.transport.flush()
                if self._link.connections != connections:
                    connections = self._link.connections
                    self._link.publish(topics.aggregator_state(self._tenant), self._birth, retain=True)
            due = self.transport.coordinator.next_time()
            if due is not None and time.monotonic() >= due:
                self.transport.step(Tick())

    def _noticed(self, notice: Notice) -> None:
        self._notices.append(notice)
        if isinstance(notice, Log):
            self._told({"event": "refused", "device": notice.device, "reason": notice.reason, "detail": notice.detail})
        elif isinstance(notice, Aborted):
            self._told(
                {
                    "event": "aborted",
                    "round": notice.round,
                    "attempt": notice.attempt,
                    "reason": notice.reason,
                    "detail": notice.detail,
                }
            )

    def _ended(self) -> Closed | Aborted | None:
        for notice in self._notices:
            if isinstance(notice, Closed) or (isinstance(notice, Aborted) and notice.final):
                return notice
        return None

    def _record(self, ended: Closed | Aborted, purpose: str, seconds: float, before: dict[str, int]) -> None:
        # Beats of the last letters may still be on their way: give them one settled moment.
        self._wait(lambda: False, 10 * SETTLED)
        after = self.transport.traffic()
        record: dict[str, Any] = {
            "event": "round",
            "round": ended.round,
            "attempt": ended.attempt,
            "purpose": purpose,
            "seconds": round(seconds, 3),
            "devices": len(self.transport.coordinator.online),
            "bytes": {name: after[name] - before.get(name, 0) for name in after},
        }
        if isinstance(ended, Closed):
            record |= {
                "status": "closed",
                "cohorts": len(ended.totals),
                "included": list(ended.included),
                "dropped": list(ended.dropped),
                "recovered": list(ended.recovered),
            }
        else:
            record |= {"status": "aborted", "reason": ended.reason, "included": [], "dropped": [], "recovered": []}
        append(self._state / "rounds.jsonl", json.dumps(record).encode() + b"\n")
        self._told(record)
