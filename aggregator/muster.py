"""Who checked in to an attempt and who joined it: what is offered, to whom, and what says that a device is not alone.

Sans-IO. It ends when cohorts are formed; what they do is `aggregator.attempt`.
"""

from accord.errors import Refusal
from accord.secagg import keys
from accord.secagg.authority import Authority
from accord.secagg.cohort import check_join
from accord.secagg.members import member_of
from accord.wire.check_in import BARRED, NO_COMPRESSOR, CheckIn, Later
from accord.wire.envelope import Envelope
from accord.wire.messages import Certificate, Offer, opened
from accord.wire.secure_sum import Join, Member
from aggregator.attempt_values import Invitation
from aggregator.coordinator_values import Declined, Effect, Log, Send, Stood
from aggregator.desk import Desk
from aggregator.standing import SEEN_TWICE, SEQUENCE_BACK, Standing, after
from aggregator.taken_keys import TakenKeys

FOR_NOW = ("Revoked", "Expired")
"""Why a device that enrolment knows is turned away in every attempt until it has another certificate."""


class Muster:
    """One attempt's.

    Args:
        invitation: the plan and whom it is for.
        context: ctx1, which every JOIN is bound to.
        seal_pair: the key pair whose public half the plan names.
        authority: whose certificates count.
        desk: signs.
    """

    def __init__(
        self, invitation: Invitation, *, context: bytes, seal_pair: keys.KeyPair, authority: Authority, desk: Desk
    ) -> None:
        self.open = True
        self.offered: dict[str, Certificate] = {}
        self.joined: dict[str, Member] = {}
        self.turned_away: set[str] = set(invitation.sitting_out)
        """Devices that are here and will not take part: nobody need wait for them."""
        self._invitation, self._context, self._authority, self._desk = invitation, context, authority, desk
        self._seal_pair = seal_pair
        self._standings: dict[str, Standing] = {}
        self._taken = TakenKeys()
        self._sequences: dict[str, int] = {}

    @property
    def waiting(self) -> list[str]:
        """The devices that were offered the plan and have not joined."""
        return [device for device in self.offered if device not in self.joined]

    def check_in(self, letter: Envelope, clock: int, known: Standing | None) -> tuple[Effect, ...]:
        """Offer the plan to a device that holds the right version, or ask it to wait.

        Args:
            letter: a CHECK-IN.
            clock: wall time in whole seconds.
            known: where the device stood before.

        Raises:
            Refusal: its certificate does not hold, `OldSerial`, `DuplicateKey`, or `LogBehind`, it saw a longer log.
            CodecError: the letter is not a check-in.
            SignatureError: it is not the device's.
        """
        message, device, plan = opened(letter, CheckIn), letter.sender, self._invitation.plan
        try:
            certificate = self._authority.certificate(message.certificate, device)
        except Refusal as refusal:
            if refusal.reason not in FOR_NOW:
                raise
            self.turned_away.add(device)
            return (Log(device=device, reason=refusal.reason, detail=refusal.detail),)
        letter.check(certificate.identity)
        if message.job != plan.job or message.params_digest != plan.params_digest:
            return (self._later(device, message.nonce, "another version is current"),)
        if (message.round, message.attempt) != (plan.round, plan.attempt):
            return (self._later(device, message.nonce, "another attempt is open"),)
        standing = after(known, message, certificate)
        effects = self._stands(device, known, standing)
        if refused := self._refused(device, message, standing):
            return (*effects, *refused)
        proof = self._invitation.prove(message.log_size)
        offer = Offer(
            nonce=message.nonce,
            now=clock,
            plan=self._invitation.data,
            revocations=self._invitation.revocations,
            consistency=proof,
            support=self._invitation.support,
        )
        self._taken.check(device, certificate.identity)
        own, imitator = self.joined.get(device), self._taken.joiner(certificate.identity)
        if imitator is not None:
            self._taken.left(self.joined.pop(imitator))
        if own is not None and own.identity != certificate.identity and device in self.joined:
            self._taken.left(self.joined.pop(device))  # its JOIN was of the key before
        self.offered[device] = certificate
        self._taken.offered(device, certificate.identity)
        self.turned_away.discard(device)
        self._standings[device], self._sequences[device] = standing, message.sequence
        return (*effects, Send(device=device, data=self._desk.sealed(offer, device)))

    def join(self, letter: Envelope) -> tuple[Effect, ...]:
        """Take a JOIN whose signature holds.

        Raises:
            Refusal: by name; nothing was changed.
            CodecError: the letter is not well formed.
        """
        device = letter.sender
        if letter.context != self._context:
            raise Refusal("WrongContext", f"{device} joins with another plan or model")
        message = opened(letter, Join)
        certificate = self._authority.certificate(message.certificate, device)
        if certificate != self.offered[device]:
            raise Refusal("NotEnrolled", f"{device} joins with another certificate than it checked in with")
        member = member_of(letter, message, certificate)
        known = self.joined.get(device)
        if known is not None:
            return () if known == member else self._joined_twice(device)
        if not self.open:
            raise Refusal("TooLate", f"{device} joins after the roster was made")
        check_join(message, self._taken, self._seal_pair, self._invitation.plan.keys)
        self.joined[device] = member
        self._taken.joined(device, member)
        before = self._standings[device]
        self._standings[device] = before.joined(self._sequences[device])
        return self._stands(device, before, self._standings[device])

    def _joined_twice(self, device: str) -> tuple[Effect, ...]:
        """A device writes its JOIN before it sends it, and sends that one again: two are of two devices."""
        standing = self._standings[device] = self._standings[device].bar(SEEN_TWICE)
        detail = f"{device} joined with other keys: one of two is a copy, and it is barred as {standing.barred}"
        return (Log(device=device, reason="JoinedBefore", detail=detail), Stood(device=device, standing=standing))

    def _refused(self, device: str, message: CheckIn, standing: Standing) -> tuple[Effect, ...]:
        """Return what a device is told that is not offered the plan; nothing if it is.

        One that was offered it before, and can't do any more what it asks for, is not waited for either.
        """
        invitation, update = self._invitation, self._invitation.plan.update
        if standing.barred:
            self._turn_away(device)
            barred = f"{BARRED}{standing.barred}; erase this device and enrol it anew"
            return (self._later(device, message.nonce, barred),)
        if device in invitation.barred:
            return (self._later(device, message.nonce, f"{BARRED}it dealt wrong shares in this round"),)
        known = device in self.offered
        full = not self.open or (len(self.offered) >= invitation.devices and not known)
        if update.open and update.compression not in message.compressors and (known or not full):
            return self._declined(device, message.nonce, NO_COMPRESSOR)
        return (self._later(device, message.nonce, "this attempt is full"),) if full else ()

    def _stands(self, device: str, before: Standing | None, now: Standing) -> tuple[Effect, ...]:
        """Return what keeps a standing that has changed, and tells that a device is barred from now on."""
        if now == before:
            return ()
        stood = Stood(device=device, standing=now)
        if not now.barred or (before is not None and before.barred):
            return (stood,)
        todo = "erase it, then invite and enrol it anew"
        if now.barred == SEQUENCE_BACK:
            detail = f"{device} took part more often than it says: a copy, or an old state folder; {todo}"
            return (Log(device=device, reason="SequenceBack", detail=detail), stood)
        detail = f"{device} was started more often than it says: a copy, or an old state folder; {todo}"
        return (Log(device=device, reason="SeenTwice", detail=detail), stood)

    def _declined(self, device: str, nonce: bytes, reason: str) -> tuple[Effect, ...]:
        """Turn away a device that can't compress as the plan asks."""
        if self.open and device in self.joined:
            self._taken.left(self.joined.pop(device))
        self._turn_away(device)
        plan = self._invitation.plan
        asked = f"this round's updates are compressed with {plan.update.compression}"
        declined = Declined(
            round=plan.round, attempt=plan.attempt, device=device, reason=reason, detail=f"{device} has none: {asked}"
        )
        return declined, self._later(device, nonce, f"{reason}: {asked}")

    def _turn_away(self, device: str) -> None:
        """Wait no more for a device to join; one that has joined is not waited for here."""
        self.turned_away.add(device)
        if self.open and device not in self.joined:
            self.offered.pop(device, None)

    def _later(self, device: str, nonce: bytes, reason: str) -> Send:
        return Send(device=device, data=self._desk.sealed(Later(nonce=nonce, reason=reason), device))
