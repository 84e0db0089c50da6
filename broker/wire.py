"""The bytes of one connection over TCP or TLS; knows nothing of MQTT.

What is written in one turn of the loop goes out at its end, in one piece: a call of the system for each letter and each
acknowledgement costs more than all that is done about them.
"""

import asyncio
import ssl

from amqtt.adapters import WriterAdapter

READ_AHEAD = 1 << 18  # bytes that wait to be read before the client is made to wait, twice as many at most
AT_ONCE = 1 << 16  # bytes that are not held until the end of the turn
HIGH, LOW = 1 << 18, 1 << 16  # bytes that wait to be sent: `drain` waits above the one, until the other


class Wire(WriterAdapter):  # type: ignore[misc]
    """A connection that is as secure as its listener makes it.

    Args:
        reader: what the client sends.
        writer: what it is sent.
        address: where it comes from.
        name: the common name of its certificate where one is required, else None.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, address: str, name: str | None
    ) -> None:
        self.address, self.name = address, name
        self._reader, self._writer = reader, writer
        self._turn: list[bytes | memoryview] = []
        self._turn_size = 0
        self._loop = asyncio.get_running_loop()
        writer.transport.set_write_buffer_limits(high=HIGH, low=LOW)

    def admit(self, largest: int) -> None:
        """Take more at a time from here on, as the client has logged in: packets of so many bytes."""

    async def readexactly(self, size: int) -> bytes:
        """Return the next `size` bytes.

        Raises:
            asyncio.IncompleteReadError: the connection ended before.
            OSError: it broke.
        """
        return await self._reader.readexactly(size)

    @property
    def ended(self) -> bool:
        """Whether the connection is over."""
        return self._writer.is_closing()

    @property
    def buffered(self) -> int:
        """Bytes that wait to be sent."""
        size: int = self._writer.transport.get_write_buffer_size()
        return size + self._turn_size

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them until the client takes them; see `drain`."""
        self._hold(data)

    def write_all(self, *parts: bytes | memoryview) -> None:
        """Send several parts in one go."""
        self._hold(*parts)

    async def drain(self) -> None:
        """Wait while more than `HIGH` bytes wait, until at most `LOW` do.

        Raises:
            OSError: the connection ended.
        """
        self._send()
        await self._writer.drain()

    async def close(self) -> None:
        """Send what waits, and end; returns at once."""
        self._send()
        self._writer.close()

    def abort(self) -> None:
        """End at once; what waits is not sent."""
        self._writer.transport.abort()

    def _hold(self, *parts: bytes | memoryview) -> None:
        """Keep parts until the end of the turn, or send them now that there is much."""
        if not self._turn:
            self._loop.call_soon(self._send)
        self._turn += parts
        self._turn_size += sum(map(len, parts))
        if self._turn_size >= AT_ONCE:
            self._send()

    def _send(self) -> None:
        """Hand over what was written in this turn."""
        parts, self._turn, self._turn_size = self._turn, [], 0
        if parts and not self._writer.is_closing():
            self._writer.write(b"".join(parts))  # `writelines` of 3.12.0 to 3.12.7 never says that a buffer is full

    def get_peer_info(self) -> tuple[str, int] | None:
        """Return the client's address and port, as amqtt asks for them."""
        found = self._writer.get_extra_info("peername") or (self.address, 0)
        return found[0], found[1]

    def get_ssl_info(self) -> ssl.SSLObject | None:
        """Return nothing: names on certificates are the front door's business."""
        return None
