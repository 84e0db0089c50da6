"""Waiting for what comes in its own time: a condition, a letter, a subscription that works."""

import threading
import time
from collections.abc import Callable

from accord.link import Delivery
from accord.link.mqtt import MqttLink


def until(done: Callable[[], bool], what: str, seconds: float = 10, every: float = 0.01) -> None:
    """Wait for a condition that is looked at `every` so many seconds, and fail with its name."""
    end, pause = time.monotonic() + seconds, threading.Event()
    while not done():
        assert time.monotonic() < end, f"in {seconds} s it did not come true that {what}"
        pause.wait(every)


def received(link: MqttLink, seconds: float = 10) -> Delivery:
    """Wait for the next letter, and fail where none comes."""
    found = link.receive(seconds)
    assert found is not None, f"in {seconds} s nothing came"
    return found


def until_heard(say: Callable[[], None], ear: MqttLink, payload: bytes, quiet: float = 0.3) -> None:
    """Say it again until this payload comes, then take what else comes of it, until `quiet` seconds bring nothing."""

    def heard() -> bool:
        say()
        found = ear.receive(0.3)
        return found is not None and found.payload == payload

    until(heard, f"{payload!r} is heard")
    while ear.receive(quiet) is not None:
        pass
