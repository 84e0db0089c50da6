"""A broker that does as a test tells it, byte by byte."""

import socket
import threading
from collections.abc import Callable

from accord.entropy import SystemEntropy
from accord.link.address import Address
from accord.link.mqtt import MqttLink
from accord.link.session import Session

ACCEPTED = b"\x20\x02\x00\x00"


class ScriptedBroker:
    """Takes connections one after the other and plays one script with each; the last one is played again."""

    def __init__(self, *scripts: Callable[[socket.socket], None]) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._scripts, self._open = scripts, [self._server]
        self.failures: list[BaseException] = []
        self.logins: list[bytes] = []  # bodies of CONNECT packets
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        played = 0
        while True:
            try:
                client = self._server.accept()[0]
            except OSError:
                return
            self._open.append(client)
            script = self._scripts[min(played, len(self._scripts) - 1)]
            played += 1
            try:
                self.logins.append(frame(client)[1])
                script(client)
            except OSError:
                continue
            except BaseException as failure:  # noqa: BLE001 - the test shows it
                self.failures.append(failure)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._server.getsockname()[1]
        return port

    def link(self, session: Session = "plain", **more: object) -> MqttLink:
        address = Address(host="127.0.0.1", port=self.port, client_id="dev-1", password="p", session=session)
        return MqttLink(address, **({"entropy": SystemEntropy()} | more))

    @property
    def versions(self) -> list[int]:
        """The protocol levels that were asked for."""
        return [body[6] for body in self.logins]

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        for one in self._open:
            one.close()
        self._thread.join(10)


def exactly(client: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = client.recv(size - len(found))
        if not part:
            raise ConnectionResetError
        found += part
    return found


def frame(client: socket.socket) -> tuple[int, bytes]:
    """Read one packet: its first byte and its body."""
    first, size, shift = exactly(client, 1)[0], 0, 0
    while True:
        byte = exactly(client, 1)[0]
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first, exactly(client, size)
