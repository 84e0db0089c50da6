"""Drives a coordinator over a link: letters in, effects out, objects served in pieces, presence from last wills.

One thread owns it. `handle` takes a delivery; `flush` serves the pieces that were asked for since, each once for all.
What the coordinator wants sent is held until the journal has what led to it: `release` commits, then sends.
"""

from collections.abc import Callable, Iterable, Mapping

from accord import prg
from accord.errors import CodecError, Refusal, SignatureError
from accord.link import Delivery, Link
from accord.wire import chunks, topics
from accord.wire.check_in import Ask, CheckIn
from accord.wire.envelope import Envelope
from accord.wire.messages import TAG_OF, Beat, State, opened
from aggregator.attendance import Attendance
from aggregator.coordinator import Coordinator
from aggregator.coordinator_values import (
    Aborted,
    Announce,
    Arrived,
    Closed,
    Declined,
    Effect,
    Event,
    Log,
    Planned,
    Presence,
    Recall,
    Send,
    Settle,
    Stood,
    Withdrew,
)
from aggregator.deltas import Deltas
from aggregator.journal_port import Journal, NoJournal

Notice = Aborted | Closed | Declined | Log | Planned | Stood | Withdrew


class Transport:
    """The coordinator's door to one link.

    Args:
        link: connected as the aggregator.
        coordinator: sans-IO.
        objects: what devices may fetch, by digest; looked up at each request.
        deltas: what leads to them from older ones; None has none.
        now: monotonic seconds.
        clock: wall time in whole seconds.
        told: called with every closed round, aborted attempt, refusal, and device that withdraws, is declined or
            is barred, before what they cause is sent.
        journal: written before anything leaves.
        attendance: who is there and what they have carried, shared with other jobs.
        held: whether `release` is called by the owner, for many deliveries at once, and not after each.
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
        deltas: Deltas | None = None,
        journal: Journal | None = None,
        attendance: Attendance | None = None,
        held: bool = False,
    ) -> None:
        self.link, self.coordinator = link, coordinator
        self._objects, self._now, self._clock, self._told = objects, now, clock, told
        self._tenant, self._job = coordinator.office.tenant, coordinator.settings.job
        self._journal: Journal = NoJournal() if journal is None else journal
        self._holds, self._held = held, list[Send | Settle | Announce]()
        self._deltas = deltas
        self._asked: dict[bytes, tuple[bytes, set[int]]] = {}
        self._uploads: dict[str, chunks.Assembler] = {}
        self.attendance = Attendance() if attendance is None else attendance

    def start(self) -> None:
        """Subscribe to what every device writes."""
        for topic in topics.everything_up(self._tenant):
            self.link.subscribe(topic)

    def handle(self, delivery: Delivery) -> None:
        """Take one delivery; what is wrong is told and changes nothing."""
        device = ""
        try:
            found = self._parsed(delivery.topic)
            device = found.device
            match found.kind:
                case "state":
                    state = State.decode(delivery.payload)
                    if self.attendance.state(device, state) and state.job == self._job:
                        self.step(Presence(device=device, online=state.online))
                case "beat":
                    self.attendance.beat(device, Beat.decode(delivery.payload))
                case "s":
                    self._piece(device, chunks.Piece.decode(delivery.payload))
                case _:
                    self._letter(device, delivery.payload)
        except Refusal as refusal:
            self._told(Log(device=device, reason=refusal.reason, detail=refusal.detail))
        except SignatureError as error:
            self._told(Log(device=device, reason="BadSignature", detail=str(error)))
        except CodecError as error:
            self._told(Log(device=device, reason="BadMessage", detail=str(error)))

    def _parsed(self, topic: str) -> topics.Topic:
        found = topics.parse(topic)
        if (found.tenant, found.area) != (self._tenant, "up"):
            raise Refusal("ForeignTopic", f"{topic} is not written by a device of tenant {self._tenant}")
        return found

    def _letter(self, device: str, data: bytes) -> None:
        letter = Envelope.decode(data)
        if letter.tag == TAG_OF[chunks.Get]:
            self._get(device, opened(letter, chunks.Get))
        elif letter.tag == TAG_OF[chunks.Manifest]:
            self._offered(device, letter)
        elif letter.tag == TAG_OF[Ask]:
            self._recalled(device, letter)
        else:
            standing = self._journal.standing(device) if letter.tag == TAG_OF[CheckIn] else None
            self.step(Arrived(device=device, data=data, standing=standing))

    def _recalled(self, device: str, letter: Envelope) -> None:
        """A device has gone on without a RESULT: send it again; an attempt under way has none yet."""
        if letter.sender != device:
            raise Refusal("ForeignTopic", f"{device} carries a letter of {letter.sender}")
        asked = opened(letter, Ask)
        at = (asked.round, asked.attempt)
        if asked.job == self._job and at != self.coordinator.under_way:
            detail = f"{device} asks for a RESULT of round {asked.round}, attempt {asked.attempt} that is not kept"
            self.carry_out(Recall(device=device, reason="NoResult", detail=detail, at=at))

    def _offered(self, device: str, letter: Envelope) -> None:
        """A device offers a letter in pieces: say which ones are missing."""
        if letter.sender != device:
            raise Refusal("ForeignTopic", f"{device} carries a letter of {letter.sender}")
        wanted = opened(letter, chunks.Manifest)
        answer = self.coordinator.heard(device, wanted.object)
        if answer is not None:
            count = chunks.pieces(wanted.size)
            self._have(device, wanted.object, ((1 << count) - 1).to_bytes(-(-count // 8), "little"))
            self.carry_out(*answer)
            return
        limit = self.coordinator.expected_upload(letter)
        if limit is None:
            self.carry_out(Recall(device=device, reason="NotOffered", detail=f"{device} takes no part in an attempt"))
            return
        current = self._uploads.get(device)
        if current is None or current.manifest != wanted:
            current = self._uploads[device] = chunks.Assembler(wanted, limit)
        self._have(device, wanted.object, current.have)

    def _piece(self, device: str, piece: chunks.Piece) -> None:
        assembler = self._uploads.get(device)
        if assembler is None:
            return  # a doubled piece of an upload that is complete
        whole = assembler.add(piece)
        if whole is not None:
            del self._uploads[device]
            self._have(device, assembler.manifest.object, assembler.have)
            self.step(Arrived(device=device, data=whole))

    def _have(self, device: str, name: bytes, have: bytes) -> None:
        self._reply(device, chunks.Have(object=name, have=have))

    def _reply(self, device: str, message: chunks.Have | chunks.Manifest | chunks.Merged) -> None:
        data = self.coordinator.desk.sealed(message, device)
        self.link.publish(topics.down(self._tenant, device, "rsp"), data)

    def step(self, event: Event) -> None:
        """Give the coordinator one event and carry out what it returns."""
        now, clock = self._now(), self._clock()
        self._journal.note(event, now, clock)
        self.carry_out(*self.coordinator.step(event, now, clock))

    def carry_out(self, *effects: Effect) -> None:
        """Tell, and hold what is to be sent until `release`."""
        for effect in effects:
            match effect:
                case Send() | Announce():
                    self._held.append(effect)
                case Settle():
                    self._journal.settle(effect)
                    self._held.append(effect)
                case Stood(device=device, standing=standing):
                    self._journal.stand(device, standing)
                    if standing.barred:
                        self._told(effect)
                case Recall(device=device):
                    kept = self._journal.recall(device, effect.at)
                    if kept is None:
                        self._told(Log(device=device, reason=effect.reason, detail=effect.detail))
                    else:
                        self._held.append(Send(device=device, data=kept))
                case _:
                    self._told(effect)
        if not self._holds:
            self.release()

    def release(self) -> None:
        """Make the journal durable, then send what was held."""
        self._journal.commit()
        held, self._held = self._held, []
        for effect in held:
            match effect:
                case Announce(topic=topic, data=data):
                    self.link.publish(topics.job(self._tenant, self._job, topic), data, retain=True)
                case Send(device=device, data=data) | Settle(device=device, data=data):
                    self.link.publish(topics.down(self._tenant, device, "cmd"), data)

    def replay(self, noted: Iterable[tuple[Event, float, int]]) -> None:
        """Take the events of a journal again, after a restart; how attempts ended is told, and nothing is sent.

        What was sent before the restart was sent; what was not, devices ask for by sending their last letter again.
        Whom attempts went without is told, too.
        The opening alone is announced once more.
        """
        opening: Announce | None = None
        for event, now, clock in noted:
            for effect in self.coordinator.step(event, now, clock):
                match effect:
                    case Announce(topic="round"):
                        opening = effect
                    case Closed() | Aborted() | Declined():
                        self._told(effect)
                    case _:
                        pass
        if opening is not None:
            self.carry_out(opening)

    def flush(self) -> None:
        """Publish every piece that was asked for since the last call, once."""
        asked, self._asked = self._asked, {}
        for name, (data, indices) in asked.items():
            topic = topics.piece(self._tenant, name.hex())
            for index in sorted(indices):
                self.link.publish(topic, chunks.piece(data, name, index).encode(), qos=0)

    @property
    def waiting(self) -> bool:
        """Whether `flush` has something to publish."""
        return bool(self._asked)

    def _get(self, device: str, message: chunks.Get) -> None:
        data = self._objects.get(message.object)
        if data is None:
            raise Refusal("NoSuchObject", f"{device} asks for an object that is not served")
        name, merged = message.object, None
        # Of other jobs' models, which are served here, too, there is none, and looking would have ours made anew.
        if message.held and self._deltas is not None and name == self.coordinator.model.digest:
            merged = self._deltas.between(message.held, name, data)
        if merged is not None:
            name, data = prg.digest(merged), merged
        count = chunks.pieces(len(data))
        if not message.have and (count > 1 or message.held):
            own = chunks.manifest(data)
            led = None if merged is None else chunks.Merged(wanted=message.object, base=message.held, manifest=own)
            self._reply(device, own if led is None else led)
            return
        self._asked.setdefault(name, (data, set()))[1].update(chunks.missing(message.have, count))
