"""The socket on which systemd hears how a service does: ready, alive, stopping; where there is none nothing is told.

The protocol is a datagram of `NAME=value` lines to the AF_UNIX socket in `NOTIFY_SOCKET` (sd_notify(3)).
"""

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

BEATS = 3
"""Signs of life in one `WatchdogSec`: systemd asks for two."""
_LONGEST = 512
"""Characters of a status."""


class Notifier:
    """Tells the service manager. What can't be told is not told: a service never fails because nobody listens.

    Args:
        environment: `NOTIFY_SOCKET` names the socket, an absolute path or, behind `@`, an abstract name;
            `WATCHDOG_USEC` is `WatchdogSec` in microseconds, for the process `WATCHDOG_PID`.
        steady: seconds that never jump.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, steady: Callable[[], float] = time.monotonic
    ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._listened = name.startswith(("/", "@"))
        self._steady = steady
        allowed = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._every = int(allowed) / 1e6 / BEATS if allowed.isdigit() and ours else 0.0
        self._due = steady()

    def ready(self, status: str = "") -> None:
        """The service can be relied on from now."""
        self._tell("READY=1", *_status(status))
        self.alive()

    def status(self, status: str) -> None:
        """Tell people what it does just now, in one line."""
        self._tell(*_status(status))

    def alive(self) -> None:
        """Call it wherever work goes on; a sign of life goes out `BEATS` times in a `WatchdogSec`, not more often."""
        now = self._steady()
        if self._every and now >= self._due:
            self._due = now + self._every
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """It was asked to stop, and is about to."""
        self._tell("STOPPING=1")

    def _tell(self, *lines: str) -> None:
        if not self._listened or not lines:
            return
        # An error: its buffer is full, or the service manager restarts. The next sign of life gets through.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(lines).encode(), self._address)


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())[:_LONGEST]}",) if text else ()
