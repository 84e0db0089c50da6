"""Where a broker takes connections: plain, over TLS and in WebSockets; who may come in is the front door's business."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from accord.errors import UsageError
from broker.config import Listener
from broker.secured import Secured, common_name
from broker.websocket import WebSocketWire
from broker.wire import READ_AHEAD, Wire

LOG = logging.getLogger("accord.broker")
GOODBYE = 5.0  # seconds in which a connection that was ended may still take what it was sent
LAST = 1.0  # seconds for connections that were cut when the broker ends
BACKLOG = 1_024  # connections that wait: a fleet may come back all at once


class Door(Protocol):
    """Whoever is told of connections."""

    largest_first: int
    login: float

    async def connected(self, address: str, secured: Callable[[], Awaitable[Wire]], abort: Callable[[], None]) -> None:
        """Serve one connection until it ends.

        Args:
            address: where it comes from.
            secured: makes it as secure as its listener is, and must be called first.
            abort: ends it at once.
        """

    def revoked(self, name: str) -> None:
        """Note that a client of this name showed a certificate that is revoked, and is cut off."""


class _Arrival(asyncio.Protocol):
    """A connection of which nothing is read before the door has looked at it."""

    def __init__(self, serve: Callable[[asyncio.Transport], Awaitable[None]]) -> None:
        self._serve = serve
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve it; what a client says before TLS is never taken for what it says inside."""
        held = cast("asyncio.Transport", transport)
        held.pause_reading()
        self._task = asyncio.ensure_future(self._serve(held))


class Listeners:
    """The open listeners of one broker."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._open: list[tuple[Listener, asyncio.Server, Secured | None]] = []
        self._shown: dict[asyncio.Transport, tuple[Secured, bytes, str]] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._transports: set[asyncio.Transport] = set()

    async def open(self, listeners: tuple[Listener, ...]) -> None:
        """Take the ports; nobody is served before `start`.

        Raises:
            UsageError: a port is taken, or a file of the TLS is not one.
            FileError: a key's file is not ours alone.
        """
        loop = asyncio.get_running_loop()
        try:
            for listener in listeners:
                secured = Secured(listener.tls) if listener.tls is not None else None
                serve = self._served(listener, secured)
                try:
                    server = await loop.create_server(
                        lambda serve=serve: _Arrival(serve),  # type: ignore[misc]
                        listener.host,
                        listener.port,
                        backlog=BACKLOG,
                        start_serving=False,
                    )
                except OSError as error:
                    raise UsageError(
                        f"{listener.host}:{listener.port} can't be listened on ({_reason(error)}): "
                        "is another broker there?"
                    ) from error
                self._open.append((listener, server, secured))
        except BaseException:
            self.close()
            raise

    async def start(self) -> None:
        """Take connections."""
        for _, server, _ in self._open:
            await server.start_serving()

    @property
    def ports(self) -> tuple[int, ...]:
        """The port of each listener, in their order."""
        return tuple(server.sockets[0].getsockname()[1] for _, server, _ in self._open)

    def renew(self) -> None:
        """Read files of TLS again that were replaced, and cut whoever showed a certificate that is revoked by now."""
        renewed = [secured for _, _, secured in self._open if secured is not None and secured.renew()]
        for transport, (secured, certificate, name) in tuple(self._shown.items()):
            if secured in renewed and secured.refuses(certificate):
                self._door.revoked(name)
                transport.abort()

    def _cut(self, transport: asyncio.Transport) -> None:
        transport.abort()
        self._transports.discard(transport)

    async def end(self) -> None:
        """Cut the connections that are left, and wait until they are gone."""
        for transport in self._transports:
            transport.abort()
        if self._serving:
            _, stuck = await asyncio.wait(self._serving, timeout=LAST)
            for task in stuck:
                task.cancel()
        await asyncio.sleep(0)  # what was aborted just now is closed in the loop's next turn

    def close(self) -> None:
        """Give the ports back; connections stay."""
        for _, server, _ in self._open:
            server.close()

    def _served(self, listener: Listener, secured: Secured | None) -> Callable[[asyncio.Transport], Awaitable[None]]:
        async def serve(transport: asyncio.Transport) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._serving.add(task)
                task.add_done_callback(self._serving.discard)
            self._transports.add(transport)
            address = str((transport.get_extra_info("peername") or ("?",))[0])
            try:
                await self._door.connected(
                    address, lambda: self._wire(listener, secured, transport, address), transport.abort
                )
            finally:
                self._shown.pop(transport, None)
                transport.close()
                if transport.get_write_buffer_size():  # whoever does not read is not waited for
                    asyncio.get_running_loop().call_later(GOODBYE, self._cut, transport)
                else:  # a flood of connections that are turned away leaves nothing behind
                    self._transports.discard(transport)

        return serve

    async def _wire(
        self, listener: Listener, secured: Secured | None, transport: asyncio.Transport, address: str
    ) -> Wire:
        """Return the connection within TLS and the WebSocket of its listener.

        Raises:
            OSError: it ended, or TLS failed.
            CodecError: it is no WebSocket.
            asyncio.IncompleteReadError: it ended while it shook hands.
        """
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(READ_AHEAD)
        protocol = asyncio.StreamReaderProtocol(reader)
        name, used = None, transport
        if secured is None:
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            transport.resume_reading()
        else:
            upgraded = await loop.start_tls(
                transport, protocol, secured.context, server_side=True, ssl_handshake_timeout=self._door.login
            )
            if upgraded is None:
                raise ConnectionResetError("the connection ended while TLS began")
            used = upgraded
            protocol.connection_made(used)
            spoken: ssl.SSLObject = used.get_extra_info("ssl_object")
            certificate = spoken.getpeercert(binary_form=True)
            if certificate is not None:
                name = common_name(spoken)
                self._shown[transport] = secured, certificate, name
                if secured.refuses(certificate):  # since the handshake began
                    self._door.revoked(name)
                    raise ConnectionResetError("its certificate is revoked")
        wire = Wire(reader, asyncio.StreamWriter(used, protocol, reader, loop), address=address, name=name)
        if not listener.websocket:
            return wire
        framed = WebSocketWire(wire, self._door.largest_first)
        try:
            return await framed.opened()
        except BaseException:
            await framed.close()
            raise


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
