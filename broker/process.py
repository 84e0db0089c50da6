"""Another's broker as a subprocess on loopback: started, waited for, stopped or killed."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from accord.errors import UsageError

_POLL = 0.02  # seconds between two looks at a port
_GOODBYE = 10.0  # seconds for an orderly end


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def installed(name: str) -> str:
    """Return the path of one of Debian's brokers; `/usr/sbin` is not on everybody's path.

    Raises:
        UsageError: it is not installed.
    """
    usual = Path("/usr/sbin") / name
    found = str(usual) if usual.exists() else shutil.which(name)
    if found is None:
        raise UsageError(f"{name} is not installed: apt-get install {name}")
    return found


class Process:
    """One broker's process.

    Args:
        words: the command.
        host: where it listens.
        port: at which the first connection is taken when it is ready.
        log: the file to look at when it does not start.
    """

    def __init__(self, words: Sequence[str], host: str, port: int, log: Path) -> None:
        self._words, self.host, self.port, self._log = list(words), host, port, log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of its process; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def launch(self) -> None:
        """Start it, without waiting."""
        self._process = subprocess.Popen(  # noqa: S603 - a fixed binary and our own files
            self._words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def ready(self, timeout: float) -> None:
        """Wait until it takes connections.

        Raises:
            UsageError: it ended, or did not listen in time.
        """
        until = time.monotonic() + timeout
        while time.monotonic() < until and self.running:
            with socket.socket() as probe:
                if probe.connect_ex((self.host, self.port)) == 0:
                    return
            time.sleep(_POLL)
        self.stop()
        raise UsageError(f"{Path(self._words[0]).name} did not start: look at {self._log}")

    def stop(self) -> None:
        """Stop it and wait until it is gone."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_GOODBYE)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def reload(self) -> None:
        """Have it read its files again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
