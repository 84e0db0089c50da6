"""A device's heartbeat: what it has carried so far, every some seconds give or take half, and after each attempt."""

from accord.entropy import Entropy
from accord.link import Link
from accord.wire import topics
from accord.wire.messages import Beat
from edge_sdk.agent import Traffic


class Heartbeat:
    """One device's.

    Args:
        link: connected as the device.
        tenant: whose fleet.
        device: its id.
        entropy: spreads the beats of a fleet.
        every: seconds.
        now: monotonic seconds.
    """

    def __init__(self, link: Link, tenant: str, device: str, *, entropy: Entropy, every: float, now: float) -> None:
        self._link, self._topic = link, topics.up(tenant, device, "beat")
        self._entropy, self._every, self._due = entropy, every, now

    def turn(self, now: float, traffic: Traffic) -> None:
        """Send one if it is time.

        Args:
            now: monotonic seconds.
            traffic: what was carried of updates and models.
        """
        if now >= self._due:
            self.send(traffic)
            jitter = int.from_bytes(self._entropy(2), "little") / 2**16
            self._due = now + self._every * (0.5 + jitter)

    def send(self, traffic: Traffic) -> None:
        """Send one now."""
        message = Beat(
            bytes_up=self._link.bytes_up,
            bytes_down=self._link.bytes_down,
            payload_up=traffic.payload_up,
            payload_down=traffic.payload_down,
        )
        self._link.publish(self._topic, message.encode(), qos=0)
