"""A service manager's socket of our own: what a service tells it, and when."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path


class NotifySocket:
    """Bound from the beginning; `said` holds (monotonic seconds, name, value) of every line."""

    def __init__(self, folder: Path, *, abstract: bool = False) -> None:
        self.address = f"@accord-test-{os.getpid()}-{folder.name}" if abstract else str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:] if abstract else self.address)
        self.said: list[tuple[float, str, str]] = []

    def environment(self, watchdog: float | None = None) -> dict[str, str]:
        found = {"NOTIFY_SOCKET": self.address}
        return found if watchdog is None else found | {"WATCHDOG_USEC": str(round(watchdog * 1e6))}

    def read(self, seconds: float = 0.0) -> list[str]:
        """Wait for one datagram at most so long, take all that is there, and return the names so far."""
        self._socket.settimeout(seconds or 1e-6)
        with contextlib.suppress(TimeoutError, BlockingIOError):
            while True:
                for line in self._socket.recv(4_096).decode().splitlines():
                    name, _, value = line.partition("=")
                    self.said.append((time.monotonic(), name, value))
                self._socket.settimeout(1e-6)
        return [name for _, name, _ in self.said]

    def wait(self, wanted: str, seconds: float = 60.0, *, count: int = 1) -> list[str]:
        """Wait until a name was told `count` times."""
        until = time.monotonic() + seconds
        while self.read(0.5).count(wanted) < count:
            assert time.monotonic() < until, f"{wanted} was not told: {self.said}"
        return self.read()

    def times(self, wanted: str) -> list[float]:
        return [at for at, name, _ in self.said if name == wanted]

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def listening(folder: Path, *, abstract: bool = False) -> Iterator[NotifySocket]:
    found = NotifySocket(folder, abstract=abstract)
    try:
        yield found
    finally:
        found.close()
