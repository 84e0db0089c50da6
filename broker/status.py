"""What a running broker says of itself, through a socket in its folder that is for nobody else."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from accord.errors import UsageError
from broker.attempts import Attempts
from broker.config import BrokerConfig
from broker.exchange import Exchange
from broker.front_door import FrontDoor

SOCKET = "broker.sock"
LARGEST, TIMEOUT = 1 << 20, 5.0  # bytes of an answer, and the seconds that it may take
PRIVATE = 0o600


def described(
    config: BrokerConfig, ports: tuple[int, ...], door: FrontDoor, exchange: Exchange, attempts: Attempts
) -> dict[str, Any]:
    """Return what `accord broker status` shows: counts since the start, and what waits now, in bytes."""
    boxes, traffic = exchange.outboxes, exchange.traffic
    retained, retained_bytes = exchange.retained
    longest = sorted(boxes.items(), key=lambda one: -one[1].waiting)[:10]
    return {
        "tenant": config.tenant,
        "listeners": [
            {"scheme": listener.scheme, "host": listener.host, "port": port}
            for listener, port in zip(config.listeners, ports, strict=True)
        ],
        "clients": len(door.clients),
        "strangers": len(door.strangers),
        "sessions": len(exchange.sessions),
        "letters_in": traffic.letters_in,
        "bytes_in": traffic.bytes_in,
        "letters_out": traffic.letters_out,
        "bytes_out": traffic.bytes_out,
        "dropped": traffic.dropped,
        "waiting_bytes": traffic.waiting,
        "waiting": {client: box.waiting for client, box in longest if box.waiting},
        "retained": retained,
        "retained_bytes": retained_bytes,
        "refused": dict(sorted(attempts.counts.items())),
    }


class StatusSocket:
    """Answers whoever may open the folder, as long as the broker runs."""

    def __init__(self, path: Path, server: asyncio.Server) -> None:
        self._path, self._server = path, server

    @classmethod
    async def open(cls, state: Path, describe: Callable[[], Mapping[str, Any]]) -> "StatusSocket":
        """Listen in a state folder."""

        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(json.dumps(describe()).encode())
            with contextlib.suppress(OSError):
                await writer.drain()
            writer.close()

        with _short(state) as place:
            server = await asyncio.start_unix_server(answer, place)
        path = state / SOCKET
        path.chmod(PRIVATE)
        return cls(path, server)

    def close(self) -> None:
        """Answer no more."""
        self._server.close()
        self._path.unlink(missing_ok=True)


def ask(state: Path) -> dict[str, Any]:
    """Return what the broker of a state folder says of itself.

    Raises:
        UsageError: none runs there, it is another user's, or it does not answer.
    """
    try:
        with _short(state) as place, socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(TIMEOUT)
            asking.connect(place)
            answer = b""
            while (part := asking.recv(65_536)) and len(answer) < LARGEST:
                answer += part
        found: dict[str, Any] = json.loads(answer)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise UsageError(f"no broker runs on {state}: `accord broker run --state {state}` starts one") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"the broker of {state} does not answer: {error}") from error
    return found


@contextlib.contextmanager
def _short(state: Path) -> Iterator[str]:
    """Yield a short name of the socket: a path may be longer than the 107 bytes that an address has."""
    folder = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET}"
    finally:
        os.close(folder)
