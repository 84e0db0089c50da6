"""Plan-making: what the attempts of a round have in common, and the plan and the opening that each of them begins with.

Sans-IO. How an attempt goes on is `aggregator.attempt`, and which one follows is `aggregator.coordinator`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from accord import prg
from accord.entropy import Entropy
from accord.errors import LocalProtocolError
from accord.plan import Plan
from accord.secagg import hybrid
from accord.secagg.authority import Authority
from accord.tensors import Layout
from accord.update.pipeline import Form
from accord.wire.envelope import Envelope
from accord.wire.messages import Opening, Revocations, Roles, opened
from aggregator.attempt import Attempt
from aggregator.attempt_values import Invitation, from_empty
from aggregator.coordinator_values import Announce, Effect, Model, Office, Planned, Request, Settings
from aggregator.desk import Desk


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Which attempt is to begin, and from where.

    `previous` is the transcript hash after the round before (32 bytes); `barred` are devices that dealt wrong shares in
    an attempt before of the same round, and `sitting_out` those that withdrew from it.
    """

    round: int
    attempt: int
    previous: bytes
    model: Model
    barred: frozenset[str] = field(default_factory=frozenset)
    sitting_out: frozenset[str] = field(default_factory=frozenset)


class Planner:
    """The plans of one job.

    Args:
        office: the aggregator's key and documents.
        settings: windows and how long a plan holds.
        layout: the model's trainable tensors.
        desk: signs.
        clock: wall time in seconds, for the certificates.
        prove: gives, for a signed checkpoint and the size of the log that a device saw last, the proof that the one
            begins with the other, or raises Refusal; None where the log is empty.
    """

    def __init__(
        self,
        *,
        office: Office,
        settings: Settings,
        layout: Layout,
        desk: Desk,
        clock: int,
        prove: Callable[[bytes, int], tuple[bytes, ...]] | None,
    ) -> None:
        self._office, self._settings, self._layout, self._desk = office, settings, layout, desk
        self._prove = prove
        self._checkpoint, self._revocations = office.checkpoint, office.revocations
        self._request: Request | None = None
        self._entropy: Entropy | None = None
        revocations = opened(Envelope.decode(office.revocations), Revocations)
        roles = opened(Envelope.decode(office.roles), Roles)
        self._authority = Authority(roles=roles, revocations=revocations, now=clock)

    def begin(self, request: Request, entropy: Entropy, *, checkpoint: bytes, revocations: bytes) -> None:
        """Take what all attempts of the next round have in common.

        Args:
            request: what the round shall do.
            entropy: of this round alone; seal keys and cohorts are drawn from it.
            checkpoint: signed head of the audit log that its plans carry.
            revocations: signed list that they name; empty is the office's.
        """
        self._request, self._entropy, self._checkpoint = request, entropy, checkpoint
        newest = revocations or self._office.revocations
        if newest != self._revocations:
            self._revocations = newest
            found = opened(Envelope.decode(newest), Revocations)
            self._authority = Authority(roles=self._authority.roles, revocations=found, now=self._authority.now)

    @property
    def request(self) -> Request:
        """What the round under way, or the last one, was asked to do.

        Raises:
            LocalProtocolError: no round has begun.
        """
        if self._request is None:
            raise LocalProtocolError("no round was asked for")
        return self._request

    def attempt(self, turn: Turn, now: float, clock: int) -> tuple[Attempt, list[Effect]]:
        """Return a fresh attempt, and what must be done before devices check in to it.

        Raises:
            LocalProtocolError: no round has begun.
        """
        entropy = self._entropy
        if entropy is None:
            raise LocalProtocolError("no round was asked for")
        pair = hybrid.new_pair(entropy.child("seal", turn.attempt), self.request.keys)
        plan = self._plan(turn, pair.public, clock)
        data, checkpoint, prove, request = plan.encode(), self._checkpoint, self._prove, self.request
        self._authority = self._authority.at(clock)
        attempt = Attempt(
            Invitation(
                plan=plan,
                data=data,
                revocations=self._revocations,
                support=request.support,
                devices=request.devices,
                cohorts=request.cohorts,
                waits_for_all=request.waits_for_all,
                barred=turn.barred,
                sitting_out=turn.sitting_out,
                prove=from_empty if prove is None else lambda seen: prove(checkpoint, seen),
            ),
            form=Form(plan, self._layout, request.support),
            seal_pair=pair,
            windows=self._settings.windows,
            authority=self._authority,
            desk=self._desk,
            entropy=entropy.child("cohorts", turn.attempt),
            now=now,
            spread=self._settings.spread,
        )
        return attempt, [Planned(plan=data), self._opening(turn)]

    def _plan(self, turn: Turn, seal_key: bytes, clock: int) -> Plan:
        request, model, office = self.request, turn.model, self._office
        return Plan(
            tenant=office.tenant,
            job=self._settings.job,
            round=turn.round,
            attempt=turn.attempt,
            purpose=request.purpose,
            base_version=model.version,
            bundle_digest=model.bundle_digest,
            params_digest=model.digest,
            previous=turn.previous,
            checkpoint=self._checkpoint,
            roles_version=office.roles_version,
            revocations_digest=prg.digest(self._revocations),
            seal_key=seal_key,
            profile=request.profile,
            cohort_floor=request.floor,
            cohort_cap=request.cap,
            training=request.training,
            fixed=request.fixed,
            task=request.task,
            length=request.length,
            expires=clock + self._settings.lifetime,
            graph=request.graph,
            update=request.update,
            keys=request.keys,
        )

    def _opening(self, turn: Turn) -> Announce:
        model, job = turn.model, self._settings.job
        message = Opening(
            job=job,
            round=turn.round,
            attempt=turn.attempt,
            base_version=model.version,
            bundle_digest=model.bundle_digest,
            bundle_size=model.bundle_size,
            params_digest=model.digest,
            params_size=len(model.params),
        )
        return Announce(topic="round", data=self._desk.sealed(message, job))
