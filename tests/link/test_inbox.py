"""The inbox: in order, bounded in number and bytes, and nobody waits for ever."""

import threading

import pytest

from accord.link import Delivery
from accord.link.inbox import Inbox


def delivery(size: int, topic: str = "a") -> Delivery:
    return Delivery(topic=topic, payload=bytes(size))


def test_deliveries_come_out_in_order() -> None:
    inbox = Inbox()
    for size in range(5):
        assert inbox.put(delivery(size))
    assert [len(found.payload) for _ in range(5) if (found := inbox.get(0))] == [0, 1, 2, 3, 4]
    assert inbox.get(0) is None
    assert inbox.get(0.01) is None


def test_a_full_inbox_drops_and_counts() -> None:
    few, small = Inbox(most=2, room=0), Inbox(most_bytes=100, room=0)
    assert [few.put(delivery(1)) for _ in range(3)] == [True, True, False]
    assert [small.put(delivery(size)) for size in (60, 50, 30)] == [True, False, True]
    assert (few.lost, small.lost) == (1, 1)
    small.get(0)
    assert small.put(delivery(60))


def test_what_is_dropped_is_logged_and_what_comes_while_it_closes_is_not(caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox(most=1, room=0)
    assert [inbox.put(delivery(size)) for size in (1, 2, 3)] == [True, False, False]
    assert [record.getMessage() for record in caplog.records] == [
        f"no room for a letter of {size} bytes: {size - 2} waited too long and are gone" for size in (3, 4)
    ]
    inbox.close()
    assert not inbox.put(delivery(1))
    assert len(caplog.records) == 2


def test_one_delivery_always_fits() -> None:
    inbox = Inbox(most_bytes=100, room=0)
    assert inbox.put(delivery(1_000))
    assert not inbox.put(delivery(0))


def test_room_that_comes_in_time_is_used() -> None:
    inbox = Inbox(most=1, room=30)
    inbox.put(delivery(1))
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(inbox.put(delivery(2))))
    thread.start()
    assert inbox.get(10) == delivery(1)
    assert inbox.get(10) == delivery(2)
    thread.join(10)
    assert done == [True]
    assert inbox.lost == 0


def test_closing_frees_both_sides() -> None:
    full, empty = Inbox(most=1, room=30), Inbox()
    full.put(delivery(1))
    results: list[object] = []
    threads = [
        threading.Thread(target=lambda: results.append(full.put(delivery(2)))),
        threading.Thread(target=lambda: results.append(empty.get(30))),
    ]
    for thread in threads:
        thread.start()
    full.close()
    empty.close()
    for thread in threads:
        thread.join(10)
    assert sorted(map(str, results)) == ["False", "None"]
    assert not empty.put(delivery(1))
