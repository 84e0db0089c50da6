"""What was refused: counted by its reason, and named in the log as often as a disk can bear."""

import logging
from collections import Counter
from collections.abc import Callable

LOG = logging.getLogger("accord.broker")
AT_ONCE, PER_SECOND = 20, 1.0  # lines of one reason: so many, then so many in each second
REASONS = (
    "rate",  # too many connections from one address
    "crowd",  # it had not logged in, and others wanted its place
    "late",  # it had not logged in in time
    "tls",  # TLS failed: no certificate, or one of a stranger
    "malformed",  # what came is not MQTT 3.1.1 as it is spoken here, or too large
    "version",  # another version of MQTT
    "secret",  # an unknown client, a wrong or an expired secret
    "identity",  # a client under the name of another
    "will",  # a will for a topic of others
    "full",  # too many clients are connected
    "publish",  # a topic that is not the client's to publish to
    "subscribe",  # a filter that is not the client's
    "slow",  # a letter for a client that does not read in time
    "silent",  # nothing came for one and a half keepalives
    "revoked",  # a client that was taken out while connected
)


class Attempts:
    """The refusals of one broker.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._left: dict[str, tuple[float, float]] = {}
        self._unsaid: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def note(self, reason: str, sentence: str, *parts: object) -> None:
        """Count a refusal, and log it unless its reason was logged too often; the next line then says how many."""
        self.counts[reason] += 1
        now = self._now()
        left, since = self._left.get(reason, (float(AT_ONCE), now))
        left = min(float(AT_ONCE), left + (now - since) * PER_SECOND)
        if left < 1:
            self._left[reason] = (left, now)
            self._unsaid[reason] += 1
            return
        self._left[reason] = (left - 1, now)
        unsaid = self._unsaid.pop(reason, 0)
        more = f" ({unsaid} more like it since the last line)" if unsaid else ""
        LOG.warning("%s: %s%s", reason, sentence % parts, more)
