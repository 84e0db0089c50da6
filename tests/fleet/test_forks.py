"""A device remembers the audit log that it saw: a log that was rewritten, cut or shown in two versions is refused."""

from pathlib import Path

import pytest
from forked_fleet import Fleet, charged, grow, refused, sent

from accord import prg
from accord.errors import Refusal
from accord.secagg.cohort import new_roster
from accord.secagg.members import member_of
from accord.signing import SigningKey
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Checkpoint
from aggregator.attempt_values import from_empty
from edge_sdk import session_values as dev
from edge_sdk.journal import DiskRecords


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
