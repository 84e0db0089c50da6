"""An aggregator that may show each device another audit log, and devices that are asked for one round after another."""

from collections.abc import Callable, Iterator, Sequence

from accord import prg
from accord.entropy import SeededEntropy
from accord.plan import Fixed, Plan, Task, Training
from accord.secagg import keys
from accord.secagg.authority import Authority
from accord.signing import SigningKey
from accord.tensors import Layout
from accord.update.pipeline import Form
from accord.wire.envelope import Envelope
from accord.wire.messages import Opening, Revocations, Roles, opened
from aggregator import coordinator_values as agg
from aggregator.attempt import Attempt
from aggregator.attempt_values import Invitation
from aggregator.audit.entries import AuditEntry
from aggregator.audit.log import AuditLog
from aggregator.desk import Desk
from aggregator.enrolment import new_fleet
from aggregator.round_values import Windows
from edge_sdk import session_values as dev
from edge_sdk.session import Session

LAYOUT = Layout((("w", (3, 2)),))
BUNDLE, PARAMS = prg.digest(b"bundle"), prg.digest(b"params")
CLOCK = 1_000
Prove = Callable[[int], tuple[bytes, ...]]


class Memory:
    """A log's storage that forgets."""

    def __init__(self) -> None:
        self._leaves: list[bytes] = []
        self._checkpoints: list[bytes] = []

    def append(self, leaves: Sequence[bytes]) -> None:
        self._leaves += leaves

    def leaves(self, start: int, end: int | None = None) -> Iterator[bytes]:
        return iter(self._leaves[start:end])

    def keep(self, size: int, checkpoint: bytes) -> None:
        self._checkpoints.append(checkpoint)

    def checkpoints(self) -> list[bytes]:
        return self._checkpoints


class Fleet:
    """An aggregator that may lie, with its keys, and devices that are asked for one round after another."""

    def __init__(self) -> None:
        self.keys = new_fleet("t", SeededEntropy(1), CLOCK + 1_000)
        self.desk = Desk(self.keys.aggregator)
        self.round = 0
        self.identities = [self._identity(number) for number in range(6)]

    def _identity(self, number: int) -> dev.Identity:
        name, key = f"dev-{number}", SigningKey(bytes([number + 1]) * 32)
        return dev.Identity(
            device=name,
            tenant="t",
            key=key,
            certificate=self.keys.certificate(name, key.public, number),
            root=self.keys.root.public,
            roles=self.keys.roles(),
        )

    def session(self, number: int = 0, ledger: dev.Ledger | None = None, entropy: int | None = None) -> Session:
        return Session(
            job="j",
            identity=self.identities[number],
            limits=dev.Limits(smallest_cohort=3),
            layout=LAYOUT,
            bundle_digest=BUNDLE,
            entropy=SeededEntropy(number if entropy is None else entropy).child("device"),
            ledger=ledger or dev.Ledger(),
            now=CLOCK,
        )

    def log(self, *words: str) -> AuditLog:
        log = AuditLog(Memory(), key=self.keys.aggregator, tenant="t")
        grow(log, *words)
        return log

    def attempt(self, checkpoint: bytes, prove: Prove) -> Attempt:
        """Open the next round under this checkpoint."""
        self.round += 1
        pair = keys.new_pair(SeededEntropy(7))
        plan = Plan(
            tenant="t",
            job="j",
            round=self.round,
            attempt=1,
            purpose="train",
            base_version=0,
            bundle_digest=BUNDLE,
            params_digest=PARAMS,
            previous=bytes(32),
            checkpoint=checkpoint,
            roles_version=1,
            revocations_digest=prg.digest(self.keys.revocations()),
            seal_key=pair.public,
            profile="standard",
            cohort_floor=3,
            cohort_cap=6,
            training=Training(epochs=1, batch_size=8, learning_rate=1, momentum=0, proximal=0),
            fixed=Fixed(value_bits=16, modulus_bits=24, exponents=(0,), largest_weight=100),
            task=Task(kind="classification", outputs=2, target_exponent=0, transform="none"),
            length=LAYOUT.size,
            expires=CLOCK + 100,
        )
        return Attempt(
            Invitation(
                plan=plan,
                data=plan.encode(),
                revocations=self.keys.revocations(),
                devices=6,
                cohorts=1,
                barred=frozenset(),
                waits_for_all=False,
                prove=prove,
            ),
            form=Form(plan, LAYOUT),
            seal_pair=pair,
            windows=Windows(),
            authority=Authority(
                roles=opened(Envelope.decode(self.keys.roles()), Roles),
                revocations=opened(Envelope.decode(self.keys.revocations()), Revocations),
                now=CLOCK,
            ),
            desk=self.desk,
            entropy=SeededEntropy(8),
            now=0.0,
        )

    def honest(self, log: AuditLog) -> Attempt:
        size, checkpoint = log.size, log.checkpoint()
        return self.attempt(checkpoint, lambda old: log.consistency(old, size))

    def asked(self, session: Session, attempt: Attempt) -> tuple[dev.Effect, ...]:
        """Show a device the opening, take its check-in, and give it the offer; return what it does then."""
        return session.step(dev.Arrived(data=offer(self.checked_in(session, attempt))))

    def checked_in(self, session: Session, attempt: Attempt) -> tuple[agg.Effect, ...]:
        plan = attempt.plan
        message = Opening(
            job="j",
            round=plan.round,
            attempt=1,
            base_version=0,
            bundle_digest=BUNDLE,
            bundle_size=1,
            params_digest=PARAMS,
            params_size=1,
        )
        session.step(dev.Arrived(data=self.desk.sealed(message, "j")))
        effects = session.step(dev.Fetched(params_digest=PARAMS, bundle_digest=BUNDLE))
        return attempt.check_in(Envelope.decode(sent(effects)), CLOCK, None, 0.0)


def grow(log: AuditLog, *words: str) -> None:
    for word in words:
        log.append(AuditEntry(kind="bundle", time=CLOCK, subject=word, digest=prg.digest(word.encode())))


def sent(effects: Sequence[object]) -> bytes:
    [data] = [effect.data for effect in effects if isinstance(effect, dev.Send)]
    return data


def offer(effects: Sequence[agg.Effect]) -> bytes:
    [data] = [effect.data for effect in effects if isinstance(effect, agg.Send)]
    return data


def refused(effects: Sequence[dev.Effect]) -> str:
    """Return the name of the refusal, which is all that happened."""
    [effect] = effects
    assert isinstance(effect, dev.Refused), effect
    return effect.reason


def charged(effects: Sequence[dev.Effect]) -> dev.Ledger:
    [ledger] = [effect.ledger for effect in effects if isinstance(effect, dev.Charge)]
    return ledger
