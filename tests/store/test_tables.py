"""What is written comes back the same on both databases, in order, and what contradicts it is refused."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from accord.errors import CodecError, UsageError
from aggregator import journal
from aggregator.journal import Entry
from aggregator.store import Store
from aggregator.tables import devices, jobs, lines, requests, results, rounds
from aggregator.tables.rounds import RoundRow

ONE_STORE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
ENTRIES = st.builds(
    Entry,
    now=st.floats(0, 1e9),
    clock=st.integers(0, 2**48),
    kind=st.sampled_from(["arrived", "presence", "tick", "start"]),
    device=st.sampled_from(["", "dev-1", "dev-2"]),
    data=st.binary(max_size=300),
)


@ONE_STORE
@given(st.lists(ENTRIES, max_size=20), st.lists(ENTRIES, max_size=5))
def test_the_journal_replays_what_was_appended(store: Store, ours: list[Entry], theirs: list[Entry]) -> None:
    with store.begin() as connection:
        for job in ("j", "k"):
            if job == "k" and all(row.name != "k" for row in jobs.every(connection)):
                jobs.add(connection, "k", {}, 2.0)
            journal.clear(connection, job)
    for entry in ours:
        with store.begin() as connection:
            journal.append(connection, "j", entry)
    with store.begin() as connection:
        for entry in theirs:
            journal.append(connection, "k", entry)
    with store.begin() as connection:
        assert list(journal.replay(connection, "j")) == ours
        journal.clear(connection, "j")
        assert list(journal.replay(connection, "j")) == []
        assert list(journal.replay(connection, "k")) == theirs


def test_an_event_whose_transaction_fails_was_never_there(store: Store) -> None:
    with pytest.raises(IntegrityError), store.begin() as connection:  # noqa: PT012 - what it undoes
        journal.append(connection, "j", Entry(now=1.0, clock=1, kind="tick"))
        journal.append(connection, "nobody", Entry(now=1.0, clock=1, kind="tick"))
    with store.read() as connection:
        assert list(journal.replay(connection, "j")) == []


def test_the_data_of_an_event_does_not_show() -> None:
    assert "secret" not in repr(Entry(now=1.0, clock=1, kind="arrived", data=b"secret"))


def test_a_job_from_start_to_end(store: Store) -> None:
    with store.begin() as connection:
        found = jobs.get(connection, "j")
        assert (found.status, found.config, found.state, found.round) == ("waiting", {"rounds": 3}, None, 0)
        jobs.set_status(connection, "j", "running")
        jobs.checkpoint(connection, "j", state=b"\x00state", closed=2)
        jobs.set_status(connection, "j", "failed", "TooFewDevices: 2 joined")
    with store.read() as connection:
        found = jobs.get(connection, "j")
        assert (found.status, found.state, found.round) == ("failed", b"\x00state", 2)
        assert found.error == "TooFewDevices: 2 joined"
        assert jobs.every(connection) == (found,)


def test_a_job_is_named_once_and_well(store: Store) -> None:
    with store.begin() as connection:
        with pytest.raises(UsageError, match="resume it"):
            jobs.add(connection, "j", {}, 2.0)
        with pytest.raises(CodecError):
            jobs.add(connection, "a/b", {}, 2.0)
        for change in (jobs.get, lambda c, n: jobs.set_status(c, n, "done")):
            with pytest.raises(UsageError, match="accord job list"):
                change(connection, "nobody")
        with pytest.raises(UsageError, match="waiting, running"):
            jobs.set_status(connection, "j", "sleeping")
        assert jobs.get(connection, "j").config == {"rounds": 3}


def test_rounds_are_written_once_even_if_written_twice(store: Store) -> None:
    def row(number: int, status: str) -> RoundRow:
        return RoundRow(
            job="j",
            round=number,
            attempt=1,
            purpose="train",
            status=status,
            reason="",
            started=5.0,
            seconds=1.5,
            record={"included": ["dev-1"], "bytes": {"up": 3}},
        )

    with store.begin() as connection:
        for number, status in ((2, "aborted"), (1, "closed"), (2, "closed")):
            rounds.put(connection, row(number, status))
        assert rounds.of_job(connection, "j") == (row(1, "closed"), row(2, "closed"))
        assert rounds.get(connection, "j", 2) == row(2, "closed")
        with pytest.raises(UsageError, match="no closed round 3"):
            rounds.get(connection, "j", 3)


def test_a_reader_of_log_lines_follows_them(store: Store) -> None:
    with store.begin() as connection:
        jobs.add(connection, "k", {}, 2.0)
        for number in range(5):
            lines.append(connection, "j", float(number), {"event": "round", "round": number})
            lines.append(connection, "k", float(number), {"event": "other"})
    with store.begin() as connection:
        first = lines.since(connection, "j", limit=2)
        assert [line.record["round"] for line in first] == [0, 1]
        assert [line.record["round"] for line in lines.since(connection, "j", first[-1].id)] == [2, 3, 4]
        assert [line.record["round"] for line in lines.last(connection, "j", 2)] == [3, 4]
        last = lines.last(connection, "j", 1)[0].id
        assert lines.forget(connection, 9.0) == 10
        lines.append(connection, "j", 10.0, {"round": 9})
        assert [line.record["round"] for line in lines.since(connection, "j", last)] == [9], "an id is never used again"
        with pytest.raises(ValueError, match="JSON"):
            lines.append(connection, "j", 1.0, {"loss": float("nan")})


def test_a_result_is_answered_with_the_same_bytes_until_it_is_old(store: Store) -> None:
    with store.begin() as connection:
        results.put(connection, "j", 1, 1, letters={"dev-1": b"one", "dev-2": b"two"}, time=100)
        results.put(connection, "j", 2, 1, letters={"dev-1": b"three"}, time=200)
        results.put(connection, "j", 2, 1, letters={"dev-1": b"three"}, time=200)
        assert results.get(connection, "j", 1, 1, "dev-2") == b"two"
        assert results.get(connection, "j", 1, 2, "dev-2") is None
        assert results.of_last(connection, "j") == {"dev-1": b"three"}
        assert results.of_last(connection, "k") == {}
        assert results.forget(connection, before=200) == 2
        assert results.get(connection, "j", 1, 1, "dev-2") is None
        assert results.get(connection, "j", 2, 1, "dev-1") == b"three"


def test_a_device_comes_goes_and_is_not_fooled_by_an_old_will(store: Store) -> None:
    with store.begin() as connection:
        assert not devices.seen(connection, "dev-1", online=True, birth=1, time=1.0), "nobody enrolled it"
        devices.enrolled(connection, "dev-1", tenant="t", serial=7, time=1.0)
        assert devices.seen(connection, "dev-1", online=True, birth=10, time=2.0)
        assert devices.seen(connection, "dev-1", online=True, birth=20, time=3.0)
        assert not devices.seen(connection, "dev-1", online=False, birth=10, time=4.0), "an older connection's will"
        assert devices.seen(connection, "dev-1", online=False, birth=20, time=5.0)
        assert devices.seen(connection, "dev-1", online=True, birth=2**63, time=6.0), "beyond the database's numbers"
        devices.carried(connection, "dev-1", rounds=1, up=100, down=2**40)
        devices.carried(connection, "dev-1", rounds=1, up=1, down=1)
        found = devices.get(connection, "dev-1")
        assert found is not None
        assert (found.online, found.first_seen, found.last_seen, found.birth) == (True, 1.0, 6.0, 2**63 - 1)
        assert (found.rounds, found.bytes_up, found.bytes_down) == (2, 101, 2**40 + 1)
        devices.nobody_online(connection)
        assert [device.online for device in devices.every(connection)] == [False]


def test_a_barred_device_is_enrolled_anew(store: Store) -> None:
    with store.begin() as connection:
        devices.enrolled(connection, "dev-1", tenant="t", serial=7, time=1.0)
        devices.carried(connection, "dev-1", rounds=3)
        devices.set_status(connection, "dev-1", "barred")
        assert [device.status for device in devices.every(connection)] == ["barred"]
        devices.enrolled(connection, "dev-1", tenant="t", serial=8, time=9.0)
        (found,) = devices.every(connection)
        assert (found.status, found.serial, found.first_seen, found.rounds) == ("enrolled", 8, 1.0, 3)
        with pytest.raises(UsageError, match="accord device list"):
            devices.set_status(connection, "dev-2", "revoked")
        with pytest.raises(UsageError, match="enrolled, barred"):
            devices.set_status(connection, "dev-1", "odd")
        with pytest.raises(CodecError, match="reserved"):
            devices.enrolled(connection, "aggregator", tenant="t", serial=9, time=1.0)


def test_an_enrolment_request_is_answered_once(store: Store) -> None:
    with store.begin() as connection:
        first = requests.ask(connection, "dev-1", "enrol", b"key 1", 1.0)
        second = requests.ask(connection, "dev-2", "enrol", b"key 2", 2.0)
        assert requests.ask(connection, "dev-1", "enrol", b"key 1", 3.0) == first, "a resend is the same request"
        assert [asked.device for asked in requests.waiting(connection)] == ["dev-1", "dev-2"]
        requests.answer(connection, first, "approved", b"certificate")
        assert [asked.id for asked in requests.waiting(connection)] == [second]
        found = requests.get(connection, first)
        assert (found.status, found.answer) == ("approved", b"certificate")
        with pytest.raises(UsageError, match="was approved before"):
            requests.answer(connection, first, "refused", b"")
        with pytest.raises(UsageError, match="no request 99"):
            requests.answer(connection, 99, "refused", b"")
        with pytest.raises(UsageError, match="approved or refused"):
            requests.answer(connection, second, "maybe", b"")
