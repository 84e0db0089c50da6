"""Where a broker takes connections: plain, over TLS and in WebSockets; who may come in is the front door's business."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from accord.errors import UsageError
from accord.files import FileError, read_private
from broker.config import Listener, Tls
from broker.websocket import WebSocketWire
from broker.wire import READ_AHEAD, Wire

LOG = logging.getLogger("accord.broker")
LARGEST_KEY = 65_536  # bytes of a key's file
GOODBYE = 5.0  # seconds in which a connection that was ended may still take what it was sent
LAST = 1.0  # seconds for connections that were cut when the broker ends
BACKLOG = 1_024  # connections that wait: a fleet may come back all at once


class Door(Protocol):
    """Whoever is told of connections."""

    largest_packet: int
    login: float

    async def connected(self, address: str, secured: Callable[[], Awaitable[Wire]], abort: Callable[[], None]) -> None:
        """Serve one connection until it ends.

        Args:
            address: where it comes from.
            secured: makes it as secure as its listener is, and must be called first.
            abort: ends it at once.
        """


def context(tls: Tls) -> ssl.SSLContext:
    """Return what a listener's TLS is made with: 1.2 or newer, and clients' certificates required or not asked for.

    Raises:
        UsageError: a file is missing, is not PEM, or the certificate and the key are not of one pair.
        FileError: others may read the key.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    load_pair(made, tls)
    if tls.clients is not None:
        try:
            made.load_verify_locations(tls.clients)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"{tls.clients} holds no certificate of an authority: {_reason(error)}") from error
        made.verify_mode = ssl.CERT_REQUIRED
    return made


def load_pair(made: ssl.SSLContext, tls: Tls) -> None:
    """Read the certificate and the key, also again; connections from then on are made with them.

    Raises:
        UsageError: a file is missing, is not PEM, or the two are not of one pair.
        FileError: others may read the key.
    """
    read_private(tls.key, LARGEST_KEY)
    try:
        # A key with a passphrase would stop at a prompt, where nobody sits.
        made.load_cert_chain(tls.certificate, tls.key, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{tls.certificate} and {tls.key} are not a PEM certificate and its key without a passphrase: "
            f"{_reason(error)}"
        ) from error


def common_name(found: ssl.SSLObject) -> str:
    """Return the one common name of the certificate that a client showed; empty if it has none or several."""
    subject = cast("tuple[tuple[tuple[str, str], ...], ...]", (found.getpeercert() or {}).get("subject", ()))
    names = [value for part in subject for kind, value in part if kind == "commonName"]
    return names[0] if len(names) == 1 else ""


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
        self._open: list[tuple[Listener, asyncio.Server, ssl.SSLContext | None]] = []
        self._stamps: dict[Tls, tuple[int, ...]] = {}
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
                made = context(listener.tls) if listener.tls is not None else None
                serve = self._served(listener, made)
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
                self._open.append((listener, server, made))
                if listener.tls is not None:
                    self._stamps[listener.tls] = _stamp(listener.tls)
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
        """Read certificates and keys again whose file was replaced; the old ones stay if the new ones are no pair."""
        for listener, _, made in self._open:
            if listener.tls is None or made is None:
                continue
            stamp = _stamp(listener.tls)
            if stamp != self._stamps.get(listener.tls):
                self._stamps[listener.tls] = stamp
                try:
                    context(listener.tls)  # a pair that is none must not spoil the context in use
                    load_pair(made, listener.tls)
                except (UsageError, FileError) as error:
                    LOG.warning("the certificate stays as it was: %s", error)

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

    def _served(
        self, listener: Listener, made: ssl.SSLContext | None
    ) -> Callable[[asyncio.Transport], Awaitable[None]]:
        async def serve(transport: asyncio.Transport) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._serving.add(task)
                task.add_done_callback(self._serving.discard)
            self._transports.add(transport)
            address = str((transport.get_extra_info("peername") or ("?",))[0])
            try:
                await self._door.connected(
                    address, lambda: self._secured(listener, made, transport, address), transport.abort
                )
            finally:
                transport.close()
                # Whoever does not read is not waited for.
                asyncio.get_running_loop().call_later(GOODBYE, self._cut, transport)

        return serve

    async def _secured(
        self, listener: Listener, made: ssl.SSLContext | None, transport: asyncio.Transport, address: str
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
        if made is None:
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            transport.resume_reading()
        else:
            upgraded = await loop.start_tls(
                transport, protocol, made, server_side=True, ssl_handshake_timeout=self._door.login
            )
            if upgraded is None:
                raise ConnectionResetError("the connection ended while TLS began")
            used = upgraded
            protocol.connection_made(used)
            if made.verify_mode is ssl.CERT_REQUIRED:
                name = common_name(used.get_extra_info("ssl_object"))
        wire = Wire(reader, asyncio.StreamWriter(used, protocol, reader, loop), address=address, name=name)
        if not listener.websocket:
            return wire
        try:
            return await WebSocketWire(wire, self._door.largest_packet).opened()
        except BaseException:
            await wire.close()
            raise


def _stamp(tls: Tls) -> tuple[int, ...]:
    stamp = []
    for file in (tls.certificate, tls.key):  # one is replaced after the other, and a look may come between
        try:
            found = file.stat()
        except OSError:
            continue
        stamp += [found.st_ino, found.st_mtime_ns, found.st_size]
    return tuple(stamp)


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
