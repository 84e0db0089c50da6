"""Drives a coordinator over a link: letters in, effects out, objects served in pieces, presence from last wills.

One thread owns it. `handle` takes a delivery; `flush` serves the pieces that were asked for since, each once for all.
"""

from collections.abc import Callable, Mapping

from accord.errors import CodecError, Refusal
from accord.link import Delivery, Link
from accord.wire import chunks, topics
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Beat, State, opened
from aggregator.coordinator import Coordinator
from aggregator.coordinator_values import Aborted, Announce, Arrived, Closed, Effect, Event, Log, Presence, Send

Notice = Aborted | Closed | Log
_FIGURES = ("bytes_up", "bytes_down", "payload_up", "payload_down")


class Transport:
    """The coordinator's door to one link.

    Args:
        link: connected as the aggregator.
        coordinator: sans-IO.
        objects: what devices may fetch, by digest; looked up at each request.
        now: monotonic seconds.
        clock: wall time in whole seconds.
        told: called with every closed round, aborted attempt and refusal.
    """

    def __init__(
        self,
        *,
        link: Link,
        coordinator: Coordinator,
        objects: Mapping[bytes, bytes],
        now: Callable[[], float],
        clock: Callable[[], int],
        told: Callable[[Notice], None],
    ) -> None:
        self.link, self.coordinator = link, coordinator
        self._objects, self._now, self._clock, self._told = objects, now, clock, told
        self._tenant, self._job = coordinator.office.tenant, coordinator.settings.job
        self._asked: dict[bytes, set[int]] = {}
        self._births: dict[str, int] = {}
        self._beats: dict[str, Beat] = {}
        self._past = dict.fromkeys(_FIGURES, 0)

    def start(self) -> None:
        """Subscribe to what every device writes."""
        for topic in topics.everything_up(self._tenant):
            self.link.subscribe(topic)

    def handle(self, delivery: Delivery) -> None:
        """Take one delivery; what is wrong is told and changes nothing."""
        device = ""
        try:
            found = topics.parse(delivery.topic)
            device = found.device
            if found.kind == "state":
                self._state(device, State.decode(delivery.payload))
                return
            if found.kind == "beat":
                self._beats[device] = Beat.decode(delivery.payload)
                return
            letter = Envelope.decode(delivery.payload)
            if letter.tag == TAG_OF[chunks.Get]:
                self._get(device, opened(letter, chunks.Get))
                return
        except Refusal as refusal:
            self._told(Log(device=device, reason=refusal.reason, detail=refusal.detail))
            return
        except CodecError as error:
            self._told(Log(device=device, reason="BadMessage", detail=str(error)))
            return
        self.step(Arrived(device=device, data=delivery.payload))

    def _state(self, device: str, state: State) -> None:
        """A will that is older than the last birth is stale: the device has come back meanwhile."""
        if state.online or state.birth >= self._births.get(device, 0):
            if state.birth > self._births.get(device, 0) and device in self._beats:
                last = self._beats.pop(device)  # its counters start anew
                self._past = {name: self._past[name] + getattr(last, name) for name in _FIGURES}
            self._births[device] = max(state.birth, self._births.get(device, 0))
            self.step(Presence(device=device, online=state.online))

    def step(self, event: Event) -> None:
        """Give the coordinator one event and carry out what it returns."""
        for effect in self.coordinator.step(event, self._now(), self._clock()):
            self.carry_out(effect)

    def carry_out(self, effect: Effect) -> None:
        """Send, announce or tell."""
        match effect:
            case Send(device=device, data=data):
                self.link.publish(topics.down(self._tenant, device, "cmd"), data)
            case Announce(topic=topic, data=data):
                self.link.publish(topics.job(self._tenant, self._job, topic), data, retain=True)
            case _:
                self._told(effect)

    def flush(self) -> None:
        """Publish every piece that was asked for since the last call, once."""
        asked, self._asked = self._asked, {}
        for name, indices in asked.items():
            data = self._objects.get(name)
            if data is not None:
                topic = topics.piece(self._tenant, name.hex())
                for index in sorted(indices):
                    self.link.publish(topic, chunks.piece(data, name, index).encode(), qos=0)

    def traffic(self) -> dict[str, int]:
        """Return the bytes that all devices together have carried so far, as their heartbeats say."""
        return {name: self._past[name] + sum(getattr(b, name) for b in self._beats.values()) for name in _FIGURES}

    @property
    def waiting(self) -> bool:
        """Whether `flush` has something to publish."""
        return bool(self._asked)

    def _get(self, device: str, message: chunks.Get) -> None:
        data = self._objects.get(message.object)
        if data is None:
            raise Refusal("NoSuchObject", f"{device} asks for an object that is not served")
        count = chunks.pieces(len(data))
        if count > 1 and not message.have:
            letter = seal(
                TAG_OF[chunks.Manifest],
                chunks.manifest(data).encode(),
                key=self.coordinator.office.key,
                sender="aggregator",
                recipient=device,
            )
            self.link.publish(topics.down(self._tenant, device, "rsp"), letter.encode())
            return
        self._asked.setdefault(message.object, set()).update(chunks.missing(message.have, count))
