"""MQTT through a WebSocket (RFC 6455; MQTT 3.1.1, section 6), for networks whose one way out is HTTPS."""

import asyncio

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from accord.errors import CodecError
from broker.wire import HIGH, Wire

LEAST, MOST = 1 << 12, 1 << 15  # bytes taken in one turn: they may be a frame of nothing for every six of them
SHOWN = 120  # characters of what is no WebSocket
MQTT = Subprotocol("mqtt")
NOT_MQTT = "This is an MQTT broker: ask for the WebSocket subprotocol mqtt.\n"


class WebSocketWire(Wire):
    """What flows in the binary frames of a WebSocket: one stream, however it is cut into frames.

    Args:
        below: the connection on which HTTP is spoken.
        largest: bytes in one frame before the client has logged in; more is refused. See `admit`.
    """

    def __init__(self, below: Wire, largest: int) -> None:
        super().__init__(below._reader, below._writer, address=below.address, name=below.name)  # noqa: SLF001 - its own kind
        self._speaker = ServerProtocol(subprotocols=[MQTT], max_size=largest)
        self.admit(largest)
        self._held = bytearray()
        self._open = False

    def admit(self, largest: int) -> None:
        """Take frames of so many bytes from here on."""
        self._speaker.max_size = largest
        self._most = 2 * (HIGH + largest)  # letters alone, which the gate bounds, must stop nobody's acknowledgements

    async def opened(self) -> "WebSocketWire":
        """Shake hands, and return this.

        Raises:
            CodecError: what comes is no request for a WebSocket, or not one for MQTT.
            asyncio.IncompleteReadError: the connection ended.
        """
        while not self._open:
            await self._listen(LEAST)
        return self

    async def readexactly(self, size: int) -> bytes:
        """Return the next `size` bytes of the stream; see `Wire`.

        Raises:
            CodecError: what comes is not a WebSocket's.
        """
        while (wanted := size - len(self._held)) > 0:
            await self._listen(max(LEAST, min(MOST, wanted)))
        part = bytes(self._held[:size])
        del self._held[:size]
        return part

    def write(self, data: bytes) -> None:
        """Send bytes as one frame."""
        if self._open and not self._writer.is_closing():
            self._speaker.send_binary(data)
            self._flush()

    def write_all(self, *parts: bytes | memoryview) -> None:
        """Send several parts as one frame."""
        self.write(b"".join(parts))

    async def close(self) -> None:
        """Say goodbye and end."""
        if self._open and not self._writer.is_closing():
            self._open = False
            self._speaker.send_close(1000)
            self._flush()
        await super().close()

    async def _listen(self, most: int) -> None:
        data = await self._reader.read(most)
        if data:
            self._speaker.receive_data(data)
        else:
            self._speaker.receive_eof()
        for event in self._speaker.events_received():
            if isinstance(event, Request):
                self._answer(event)
            elif not isinstance(event, Frame):
                continue  # a server's side is sent no response
            elif event.opcode in (Opcode.BINARY, Opcode.CONT):
                self._held += event.data
            elif event.opcode is Opcode.TEXT:
                raise CodecError("text in a WebSocket: MQTT is binary")
        self._flush()
        self._judge(ended=not data)
        await asyncio.sleep(0)  # what is read already is had without a wait, and others must have their turn
        if self.buffered > self._most:
            await (
                self.drain()
            )  # a ping is answered below MQTT, so who does not read its pongs is not heard from here on

    def _judge(self, *, ended: bool) -> None:
        """Go on only while it is a WebSocket; what was said instead is quoted in the log, and not too much of it."""
        if isinstance(self._speaker.parser_exc, PayloadTooBig):
            raise CodecError(f"a WebSocket's frame that is too large: {str(self._speaker.parser_exc)[:SHOWN]}")
        if isinstance(self._speaker.parser_exc, ProtocolError):
            raise CodecError(f"not a WebSocket: {str(self._speaker.parser_exc)[:SHOWN]!r}")
        if not ended and self._speaker.handshake_exc is not None:
            raise CodecError(f"not a request for a WebSocket: {str(self._speaker.handshake_exc)[:SHOWN]!r}")
        if ended or self._speaker.close_expected():
            self._open = False
            raise asyncio.IncompleteReadError(b"", 1)

    def _answer(self, request: Request) -> None:
        response = self._speaker.accept(request)
        if response.status_code == 101 and self._speaker.subprotocol != MQTT:
            response = self._speaker.reject(400, NOT_MQTT)
        self._open = response.status_code == 101
        self._speaker.send_response(response)
        if not self._open:
            self._flush()
            raise CodecError("a request over HTTP that is none for MQTT in a WebSocket")

    def _flush(self) -> None:
        for part in self._speaker.data_to_send():
            if part:
                super().write(part)
