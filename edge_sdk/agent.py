"""Drives a session over a link: carries out its effects in order, and measures what was sent.

One thread owns an agent; `handle` takes a delivery and returns. Training runs inside `handle`: the link keeps the
connection alive from a thread of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

from accord import prg
from accord.errors import AccordError, CannotTrain, CodecError, Refusal, SignatureError
from accord.link import Delivery, Link
from accord.plan import Plan
from accord.records import Record
from accord.wire import chunks, topics
from accord.wire.check_in import FAILED, WITHDRAWALS
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, State, opened
from edge_sdk.fetching import Fetching
from edge_sdk.ports import Records, Worker
from edge_sdk.saved import Saved
from edge_sdk.session import Session
from edge_sdk.session_values import (
    Arrived,
    Believe,
    Charge,
    Effect,
    Event,
    Fetch,
    Fetched,
    Finished,
    Forget,
    GaveUp,
    Heard,
    Keep,
    Refused,
    Send,
    Work,
    Worked,
)

SMALL = 4_096
"""Bytes up to which a letter is sent again whole."""


@dataclass
class Traffic:
    """Update and model bytes, both ways; the link counts the rest."""

    payload_up: int = 0
    payload_down: int = 0


class Agent:
    """One device on one link, in one job.

    Args:
        link: connected as this device.
        session: sans-IO.
        worker: does the work.
        records: written before sent.
        job: the job's name.
        held: the version of the model that this device has already, or nothing.
        largest_object: bytes of the largest model that is accepted.
        told: called with every effect worth telling (`Finished`, `Refused`).
    """

    def __init__(
        self,
        *,
        link: Link,
        session: Session,
        worker: Worker,
        records: Records,
        job: str,
        held: bytes = b"",
        largest_object: int = 1 << 28,
        told: Callable[[Finished | Refused], None] = lambda _effect: None,
    ) -> None:
        self.link, self.session, self.traffic = link, session, Traffic()
        self._worker, self._records, self._told = worker, records, told
        tenant, device = session.identity.tenant, session.identity.device
        self._tenant, self._device, self._job = tenant, device, job
        self._request = topics.up(tenant, device, "req")
        self._opening = topics.job(tenant, job, "round")
        self._mail = frozenset((topics.down(tenant, device, "cmd"), topics.down(tenant, device, "rsp")))
        self._fetching = Fetching(
            link,
            tenant,
            session.layout,
            held=held,
            send=self._send,
            largest=largest_object,
            received=self._received,
            kept=records.hold,
        )
        self._aggregator, self._roles = topics.aggregator_state(tenant), topics.roles(tenant)
        self._aggregator_birth: int | None = None
        self._upload = b""
        self._pending: Work | None = None

    def start(self, birth: int, *, awake: bool = False) -> None:
        """Subscribe to what a device reads and announce this connection; call it again after a reconnect.

        Args:
            birth: a number that grows with each connection; the link's last will carries the same one.
            awake: whether the constraints for training hold now, as with `wake`, but before anybody knows that we are
                here: a round may open as soon as they do, and a cluster keeps its opening for us a moment later.
        """
        # The roles document first: what comes behind it may be signed by a key that it names.
        for topic in (self._roles, *sorted(self._mail), self._aggregator):
            self.link.subscribe(topic)
        if awake:
            self.wake()
        state = topics.up(self._tenant, self._device, "state")
        self.link.publish(state, State(online=True, birth=birth, job=self._job).encode(), retain=True)

    def wake(self) -> None:
        """Listen for openings: the constraints for training hold now."""
        self.link.subscribe(self._opening)

    def rest(self) -> None:
        """Listen for openings no more; an attempt that is under way goes on."""
        self.link.unsubscribe(self._opening)

    def handle(self, delivery: Delivery) -> None:
        """Take one delivery; a refusal is told and changes nothing."""
        try:
            if delivery.topic in self._mail or delivery.topic == self._opening:
                self._mailed(delivery.payload)
            elif delivery.topic == self._aggregator:
                self._restarted(State.decode(delivery.payload))
            elif delivery.topic == self._roles:
                self._carry_out(Heard(data=delivery.payload))
            else:
                found = self._fetching.piece(delivery.payload)
                if found is not None:
                    self._fetched(found)
        except (Refusal, SignatureError, CodecError) as error:
            self._told(Refused.of(error))

    def resume(self, saved: Saved) -> None:
        """Come back into the attempt that was under way before a restart; after `start`."""
        for effect in self.session.resume(saved):
            self._do(effect)

    def erase_residual(self) -> None:
        """Forget what updates have left out: the examples that it came from go."""
        for effect in self.session.erase_residual():
            self._do(effect)

    def ask_again(self) -> None:
        """Ask for what is missing of an object, and send the last letter again; for when nothing came for some time.

        The aggregator answers a letter that it has had with its own last one, so that a lost answer comes again.
        """
        question = self.session.question
        if question:
            self.link.publish(self._request, question)
        if self._fetching.waiting:
            self._fetching.ask_again()
        elif self.session.last:
            if len(self.session.last) > SMALL:  # most of it may have arrived: only what is missing goes again
                self._upload = self.session.last
                self._send(chunks.manifest(self._upload))
            else:
                self.link.publish(self._request, self.session.last)

    def _restarted(self, state: State) -> None:
        """Ask again once the aggregator has come back: what was on its way to it may be lost."""
        known, self._aggregator_birth = self._aggregator_birth, state.birth
        if state.online and known not in (None, state.birth):
            self.ask_again()

    def _received(self, size: int) -> None:
        self.traffic.payload_down += size

    def _mailed(self, data: bytes) -> None:
        letter = Envelope.decode(data)
        if letter.tag == TAG_OF[chunks.Manifest]:
            self.session.check_aggregator(letter)
            self._fetching.manifest(opened(letter, chunks.Manifest))
        elif letter.tag == TAG_OF[chunks.Merged]:
            self.session.check_aggregator(letter)
            self._fetching.merged(opened(letter, chunks.Merged))
        elif letter.tag == TAG_OF[chunks.Have]:
            self.session.check_aggregator(letter)
            self._had(opened(letter, chunks.Have))
        else:
            self._carry_out(Arrived(data=data))

    def _carry_out(self, event: Event) -> None:
        for effect in self.session.step(event):
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case Send(data=data, payload=payload):
                self.traffic.payload_up += payload
                self._post(data)
            case Charge(ledger=ledger):
                self._records.charge(ledger)
            case Keep(name=name, data=data):
                self._records.keep(name, data)
            case Believe(roles=roles):
                self._records.believe(roles)
            case Forget(names=names):
                self._records.forget(names)
            case Work():
                self._begin(effect)
            case Fetch():
                self._fetch(effect)
            case Finished():
                self._upload = b""
                self._told(effect)
            case Refused():
                self._told(effect)

    def _post(self, data: bytes) -> None:
        """Send a letter whole, or offer it in pieces; the aggregator says which ones it lacks."""
        if len(data) <= chunks.CHUNK:
            self.link.publish(self._request, data)
            return
        self._upload = data
        self._send(chunks.manifest(data))

    def _had(self, message: chunks.Have) -> None:
        name = prg.digest(self._upload)
        if not self._upload or message.object != name:
            return  # an answer to an upload that is over
        missing = chunks.missing(message.have, chunks.pieces(len(self._upload)))
        topic = topics.upload(self._tenant, self._device, 0, name)
        for index in missing:
            self.link.publish(topic, chunks.piece(self._upload, name, index).encode())
        if not missing:
            self._upload = b""

    def _begin(self, work: Work) -> None:
        """Work at once, or get the model first: a device that was restarted has it no more."""
        held = self._fetching.held(work.plan.params_digest)
        if held is not None:
            self._work(work.plan, held)
            return
        self._pending = work
        plan = work.plan
        self._fetch(
            Fetch(
                params_digest=plan.params_digest,
                params_size=work.params_size,
                bundle_digest=plan.bundle_digest,
                bundle_size=0,
            )
        )

    def _work(self, plan: Plan, params: bytes) -> None:
        try:
            found = self._worker.work(plan, params)
        except AccordError as error:
            named = error.reason if isinstance(error, CannotTrain | Refusal) else FAILED
            self._carry_out(GaveUp(reason=str(error), why=named if named in WITHDRAWALS else FAILED))
            return
        self._carry_out(Worked(found=found))

    def _send(self, message: Record) -> None:
        letter = seal(
            TAG_OF[type(message)],
            message.encode(),
            key=self.session.identity.key,
            sender=self._device,
            recipient="aggregator",
        )
        self.link.publish(self._request, letter.encode())

    def _fetch(self, wanted: Fetch) -> None:
        if self._fetching.held(wanted.params_digest) is None:
            self._fetching.fetch(wanted)
        else:
            self._fetched(wanted)

    def _fetched(self, wanted: Fetch) -> None:
        pending, self._pending = self._pending, None
        held = self._fetching.held(wanted.params_digest)
        if pending is not None and held is not None and pending.plan.params_digest == wanted.params_digest:
            self._work(pending.plan, held)
            return
        self._carry_out(Fetched(params_digest=wanted.params_digest, bundle_digest=wanted.bundle_digest))
