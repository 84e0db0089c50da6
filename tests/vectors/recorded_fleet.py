"""A fleet of four whose every byte follows from one seed, and each party alone, brought to any point of a recording.

A recording is a list of entries: {"start"}, {"from", "to", "data"} for a letter, {"gone"} for a last will and {"time"}
in seconds. A party that is fed the entries that reach it says the same bytes again.
"""

import dataclasses
from collections import deque
from typing import Any

import numpy as np

from accord import prg
from accord.entropy import SeededEntropy
from accord.plan import Fixed, Task, Training
from accord.signing import SigningKey
from accord.tensors import Layout
from accord.update.compression import COMPRESSIONS
from accord.update.pipeline import Contribution
from accord.wire.envelope import Envelope
from aggregator import coordinator_values as agg
from aggregator.coordinator import Coordinator
from aggregator.enrolment import new_fleet
from aggregator.round_values import Windows
from aggregator.standing import Standing
from edge_sdk import session_values as dev
from edge_sdk.session import Session

SEED = SeededEntropy(1)
ROUND = SEED.child("round")(32)
"""What the coordinator derives the recorded round's keys and cohorts from."""
CLOCK = 1_000
LAYOUT = Layout((("w", (2, 2)), ("b", (1,))))
BUNDLE = prg.digest(b"bundle")
PARAMS = np.zeros(LAYOUT.size, "<f4").tobytes()
NAMES = ("dev-00", "dev-01", "dev-02", "dev-03")
KEYS = new_fleet("t", SEED.child("fleet"), CLOCK + 1000)
IDENTITIES = {name: SigningKey(SEED.child("identity", name)(32)) for name in NAMES}
CERTIFICATES = {name: KEYS.certificate(name, IDENTITIES[name].public, at) for at, name in enumerate(NAMES)}
OFFICE = agg.Office(
    tenant="t",
    key=KEYS.aggregator,
    roles=KEYS.roles(),
    roles_version=1,
    enrolment=KEYS.enrolment.public,
    revocations=KEYS.revocations(),
    checkpoint=KEYS.checkpoint(),
)
Entry = dict[str, Any]


def request(**changes: Any) -> agg.Request:
    """Return what the recorded round asks for."""
    fields: dict[str, Any] = {
        "purpose": "train",
        "devices": len(NAMES),
        "cohorts": 1,
        "floor": 3,
        "cap": 5,
        "training": Training(epochs=1, batch_size=8, learning_rate=10_000, momentum=0, proximal=0),
        "fixed": Fixed(value_bits=16, modulus_bits=20, exponents=(0, -2), largest_weight=100),
        "task": Task(kind="classification", outputs=2, target_exponent=0, transform="none"),
        "length": LAYOUT.size,
        "profile": "standard",
    }
    return agg.Request(**(fields | changes))


def contribution(name: str, rows: int) -> Contribution:
    """Return what a device found: the same each time."""
    number = NAMES.index(name) + 1
    delta = np.array([0.5, -0.25, 0.125, -1.0, 0.0625], np.float32) / number
    return Contribution(rows=rows * number, delta=delta, figures={"count": 2, "loss": 0.75 * number, "correct": 1})


def drawn(name: str, use: str, number: int = 1, attempt: int = 1) -> SeededEntropy:
    """Return what a device draws for one use in one attempt of one round."""
    seed = SEED.child("device", name).child("attempt", number, attempt)(32)
    return SeededEntropy(seed).child(use)


class Device:
    """One device's session; `feed` returns the letters that it sends and the names of what it refused."""

    def __init__(
        self, name: str, *, rows: int = 10, fails: bool = False, ledger: dict[str, Any] | None = None, **limits: Any
    ) -> None:
        self.name, self.rows, self.fails = name, rows, fails
        self.finished: list[dev.Finished] = []
        identity = dev.Identity(
            device=name,
            tenant="t",
            key=IDENTITIES[name],
            certificate=CERTIFICATES[name],
            root=KEYS.root.public,
            roles=OFFICE.roles,
        )
        self.session = Session(
            job="j",
            identity=identity,
            limits=dev.Limits(**({"smallest_cohort": 3, "allow_unmasked": True} | limits)),
            layout=LAYOUT,
            bundle_digest=BUNDLE,
            entropy=SEED.child("device", name),
            ledger=dev.Ledger(
                **{name: bytes.fromhex(v) if isinstance(v, str) else v for name, v in (ledger or {}).items()}
            ),
            now=CLOCK,
            compressors=COMPRESSIONS,
        )

    def feed(self, data: bytes) -> tuple[list[bytes], list[str]]:
        """Take one letter."""
        return self._step(dev.Arrived(data=data))

    def _step(self, event: dev.Event) -> tuple[list[bytes], list[str]]:
        sent: list[bytes] = []
        refused: list[str] = []
        for effect in self.session.step(event):
            match effect:
                case dev.Send(data=data):
                    sent.append(data)
                case dev.Refused(reason=reason):
                    refused.append(reason)
                case dev.Finished():
                    self.finished.append(effect)
                case dev.Fetch(params_digest=params, bundle_digest=bundle):
                    more = self._step(dev.Fetched(params_digest=params, bundle_digest=bundle))
                    sent, refused = sent + more[0], refused + more[1]
                case dev.Work():
                    found = contribution(self.name, self.rows)
                    if self.fails:
                        found = dataclasses.replace(found, delta=np.full(LAYOUT.size, np.nan, np.float32))
                    more = self._step(dev.Worked(found=found))
                    sent, refused = sent + more[0], refused + more[1]
                case _:
                    pass  # what is written to a disk
        return sent, refused


class Aggregator:
    """The coordinator; `feed`, `gone` and `time` return (recipient, letter) pairs and the names of what it refused."""

    def __init__(self, **asked: Any) -> None:
        self.closed: agg.Closed | None = None
        self._asked, self._now = asked, 0.0
        self.coordinator = Coordinator(
            office=OFFICE,
            settings=agg.Settings(
                job="j", windows=Windows(join=10, share=10, collect=10, confirm=10, unmask=10, grace=1)
            ),
            model=agg.Model(
                version=0, params=PARAMS, digest=prg.digest(PARAMS), bundle_digest=BUNDLE, bundle_size=1_000
            ),
            layout=LAYOUT,
            clock=CLOCK,
        )

    @property
    def next_time(self) -> float:
        """When a tick can change something."""
        return max(self._now, self.coordinator.next_time() or self._now)

    def take(self, entry: Entry) -> tuple[list[tuple[str, bytes]], list[str]]:
        """Take one entry of a recording."""
        if "start" in entry:
            return self._step(
                agg.Start(request=request(**self._asked), online=(), seed=ROUND, checkpoint=OFFICE.checkpoint)
            )
        if "gone" in entry:
            return self._step(agg.Presence(device=entry["gone"], online=False))
        if "time" in entry:
            self._now = entry["time"]
            return self._step(agg.Tick())
        return self.feed(entry["from"], bytes.fromhex(entry["data"]), entry.get("standing"))

    def feed(
        self, device: str, data: bytes, standing: dict[str, Any] | None = None
    ) -> tuple[list[tuple[str, bytes]], list[str]]:
        """Take one letter from a device's own topic; `standing` is where the device stood."""
        known = None if standing is None else Standing(**standing | {"identity": bytes.fromhex(standing["identity"])})
        return self._step(agg.Arrived(device=device, data=data, standing=known))

    def _step(self, event: agg.Event) -> tuple[list[tuple[str, bytes]], list[str]]:
        sent: list[tuple[str, bytes]] = []
        refused: list[str] = []
        for effect in self.coordinator.step(event, self._now, CLOCK):
            match effect:
                case agg.Send(device=device, data=data) | agg.Settle(device=device, data=data):
                    sent.append((device, data))
                case agg.Announce(topic="round", data=data):
                    sent += [(name, data) for name in NAMES]
                case agg.Announce(topic=topic, data=data):
                    sent.append(("everybody:" + topic, data))
                case agg.Log(reason=reason) | agg.Aborted(reason=reason) | agg.Recall(reason=reason):
                    refused.append(reason)
                case agg.Closed():
                    self.closed = effect
        return sent, refused


Party = Device | Aggregator


def record(silent: dict[str, str] | None = None, rows: int = 10, **asked: Any) -> list[Entry]:
    """Run one attempt and return its recording.

    Args:
        silent: the tag of the letter with which a device falls silent, by device.
        rows: a number that the devices' rows are multiples of.
        asked: changes of the request.
    """
    devices = {name: Device(name, rows=rows) for name in NAMES}
    aggregator = Aggregator(**asked)
    entries: list[Entry] = []
    queue: deque[Entry] = deque([{"start": "round 1"}])
    ended = False
    while queue or not ended:
        entry = queue.popleft() if queue else {"time": aggregator.next_time}
        to = entry.get("to", "aggregator")
        entries.append(entry)
        if to == "aggregator":
            sent, refused = aggregator.take(entry)
            queue += [{"from": "aggregator", "to": name, "data": data.hex()} for name, data in sent]
            ended = ended or aggregator.closed is not None or bool(refused)
        elif to in devices:
            for data in devices[to].feed(bytes.fromhex(entry["data"]))[0]:
                if (silent or {}).get(to) == Envelope.decode(data).tag:
                    del devices[to]
                    queue.append({"gone": to})
                    break
                queue.append({"from": to, "to": "aggregator", "data": data.hex()})
    return entries


def reached(name: str, entries: list[Entry], **state: Any) -> Party:
    """Return one party as it stands after those of `entries` that reach it."""
    party: Party = Aggregator(**state) if name == "aggregator" else Device(name, **state)
    for entry in entries:
        if entry.get("to", "aggregator") == name:
            say(party, entry)
    return party


def say(party: Party, entry: Entry) -> tuple[list[bytes], list[str]]:
    """Give one entry to a party and return the letters that it sends and what it refused."""
    if isinstance(party, Device):
        return party.feed(bytes.fromhex(entry["data"]))
    sent, refused = party.take(entry)
    return [data for _, data in sent], refused


def folded(entries: list[Entry]) -> list[Entry]:
    """Join neighbouring entries that carry one letter to several readers: `to` becomes a list."""
    short: list[Entry] = []
    for entry in entries:
        if "to" not in entry:
            short.append(entry)
        elif short and short[-1].get("data") == entry["data"] and short[-1]["from"] == entry["from"]:
            short[-1]["to"].append(entry["to"])
        else:
            short.append({**entry, "to": [entry["to"]]})
    return short


def unfolded(short: list[Entry]) -> list[Entry]:
    """Return the recording that `folded` made shorter."""
    return [
        one for entry in short for one in ([{**entry, "to": to} for to in entry["to"]] if "to" in entry else [entry])
    ]
