"""A device remembers the audit log that it saw: a log that was rewritten, cut or shown in two versions is refused."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from accord import prg
from accord.entropy import SeededEntropy
from accord.errors import Refusal
from accord.plan import Fixed, Plan, Task, Training
from accord.secagg import keys
from accord.secagg.authority import Authority
from accord.secagg.cohort import new_roster
from accord.secagg.members import member_of
from accord.signing import SigningKey
from accord.tensors import Layout
from accord.update.pipeline import Form
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Checkpoint, Opening, Revocations, Roles, opened
from aggregator import coordinator_values as agg
from aggregator.attempt import Attempt
from aggregator.attempt_values import Invitation, from_empty
from aggregator.audit.entries import AuditEntry
from aggregator.audit.log import AuditLog
from aggregator.desk import Desk
from aggregator.enrolment import new_fleet
from aggregator.round_values import Windows
from edge_sdk import session_values as dev
from edge_sdk.journal import DiskRecords
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
        return attempt.check_in(Envelope.decode(sent(effects)), CLOCK)


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


def test_a_log_that_grows_is_followed() -> None:
    fleet = Fleet()
    session, log = fleet.session(), fleet.log()
    for words in ((), ("a",), (), ("b", "c", "d"), ("e",) * 9):
        grow(log, *words)
        ledger = charged(fleet.asked(session, fleet.honest(log)))
        assert ledger.checkpoint == log.checkpoint()
        assert session.ledger == ledger


def test_the_first_log_that_is_seen_is_pinned_whatever_its_size() -> None:
    fleet = Fleet()
    for size in (0, 1, 5):
        log = fleet.log(*"abcde"[:size])
        session = fleet.session()
        assert charged(fleet.asked(session, fleet.honest(log))).checkpoint == log.checkpoint()
        if size:
            fork = fleet.log(*"vwxyz"[:size])
            assert refused(fleet.asked(session, fleet.honest(fork))) == "LogForked"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("abX", "LogForked"),  # an entry edited
        ("acb", "LogForked"),  # two entries moved
        ("ab", "LogForked"),  # the last one dropped
        ("", "LogForked"),  # a new log begun
        ("acd", "LogForked"),  # one dropped, another added
        ("abXd", "NoConsistencyProof"),
        ("aXbcd", "NoConsistencyProof"),  # one inserted
        ("bcdef", "NoConsistencyProof"),
    ],
)
def test_a_log_that_was_rewritten_is_refused_and_nothing_is_charged(words: str, reason: str) -> None:
    fleet = Fleet()
    session = fleet.session()
    log = fleet.log(*"abc")
    ledger = charged(fleet.asked(session, fleet.honest(log)))
    fork = fleet.log(*words)
    size, checkpoint = fork.size, fork.checkpoint()
    lying = fleet.attempt(checkpoint, lambda old: fork.consistency(min(old, size), size))
    assert refused(fleet.asked(session, lying)) == reason
    assert session.ledger == ledger
    grow(log, "d")
    assert charged(fleet.asked(session, fleet.honest(log))).checkpoint == log.checkpoint(), "the honest log goes on"


def test_a_proof_is_needed_and_must_be_this_ones() -> None:
    fleet = Fleet()
    session, log = fleet.session(), fleet.log(*"abc")
    fleet.asked(session, fleet.honest(log))
    grow(log, *"defgh")
    checkpoint = log.checkpoint()
    good = log.consistency(3, 8)
    for proof in ((), good[:-1], (*good, good[0]), good[::-1], log.consistency(2, 8), log.consistency(3, 7)):
        attempt = fleet.attempt(checkpoint, lambda _old, proof=proof: proof)  # type: ignore[misc]
        assert refused(fleet.asked(session, attempt)) == "NoConsistencyProof"
    charged(fleet.asked(session, fleet.attempt(checkpoint, lambda _old: good)))


def test_a_device_remembers_over_a_restart(tmp_path: Path) -> None:
    fleet = Fleet()
    log, records = fleet.log(*"abc"), DiskRecords(tmp_path / "state", "j")
    records.charge(charged(fleet.asked(fleet.session(), fleet.honest(log))))
    again = fleet.session(ledger=DiskRecords(tmp_path / "state", "j").ledger())
    assert again.ledger.checkpoint == log.checkpoint()
    assert refused(fleet.asked(again, fleet.honest(fleet.log(*"abX")))) == "LogForked"
    grow(log, "d")
    records.charge(charged(fleet.asked(again, fleet.honest(log))))


def test_an_offer_that_comes_again_after_its_checkpoint_was_written_is_the_same_offer() -> None:
    fleet = Fleet()
    session, log = fleet.session(), fleet.log(*"abc")
    fleet.asked(session, fleet.honest(log))
    grow(log, "d")
    proof = log.consistency(3, 4)
    charged(fleet.asked(session, fleet.attempt(log.checkpoint(), lambda _old: proof)))
    ledger = charged(fleet.asked(session, fleet.attempt(log.checkpoint(), lambda _old: proof)))
    assert ledger.checkpoint == log.checkpoint()


def test_an_aggregator_with_an_old_copy_of_its_log_says_so() -> None:
    fleet = Fleet()
    session = fleet.session()
    fleet.asked(session, fleet.honest(fleet.log(*"abc")))
    old = fleet.honest(fleet.log(*"ab"))
    with pytest.raises(Refusal, match="LogBehind: a log of 3 entries has been seen; this one has 2"):
        fleet.checked_in(session, old)
    assert old.offered == {}
    with pytest.raises(Refusal, match="LogBehind: a log of 3 entries has been seen; this one has 0"):
        fleet.checked_in(session, fleet.attempt(fleet.keys.checkpoint(), from_empty))


def test_a_checkpoint_is_the_aggregators_own_and_of_this_tenant() -> None:
    fleet = Fleet()
    payload = Checkpoint(size=0, root=prg.digest(b"")).encode()
    for key, tenant, data, reason in [
        (SigningKey(b"x" * 32), "t", payload, "BadSignature"),
        (fleet.keys.aggregator, "u", payload, "ForeignPlan"),
        (fleet.keys.aggregator, "t", payload, "LogForked"),  # the empty log has one root
        (fleet.keys.aggregator, "t", b"noise", "BadMessage"),
    ]:
        letter = seal(TAG_OF[Checkpoint], data, key=key, sender="aggregator", recipient=tenant)
        attempt = fleet.attempt(letter.encode(), lambda _old: ())
        assert refused(fleet.asked(fleet.session(), attempt)) == reason


def test_devices_that_were_shown_different_logs_can_not_complete_a_cohort() -> None:
    """Each half finds its own log in order, but what they sign is bound to it: the other half's JOINs do not hold."""
    fleet = Fleet()
    one, other = fleet.log(*"ab"), fleet.log(*"aX")
    for logs in ((one, one), (one, other)):
        joined = []
        for number in range(6):
            fleet.round = 0
            session = fleet.session(number)
            join = Envelope.decode(sent(fleet.asked(session, fleet.honest(logs[number % 2]))))
            joined.append((session, join))
        members = [member_of(join) for _, join in joined]
        roster = new_roster("c1", "standard", members)
        for session, join in joined:
            effects = session.step(dev.Arrived(data=fleet.desk.sealed(roster, "c1", join.context)))
            if logs[0] is logs[1]:
                assert sent(effects), "those of one log share"
            else:
                assert refused(effects) == "ForgedJoin"
