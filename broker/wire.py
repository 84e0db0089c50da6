"""The bytes of one connection over TCP or TLS; knows nothing of MQTT."""

import asyncio
import ssl

from amqtt.adapters import WriterAdapter

READ_AHEAD = 1 << 18  # bytes that wait to be read before the client is made to wait, twice as many at most
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
        return size

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them until the client takes them; see `drain`."""
        if not self._writer.is_closing():
            self._writer.write(data)

    def write_all(self, *parts: bytes | memoryview) -> None:
        """Send several parts in one go."""
        if not self._writer.is_closing():
            self._writer.writelines(parts)

    async def drain(self) -> None:
        """Wait while more than `HIGH` bytes wait, until at most `LOW` do.

        Raises:
            OSError: the connection ended.
        """
        await self._writer.drain()

    async def close(self) -> None:
        """Send what waits, and end; returns at once."""
        self._writer.close()

    def abort(self) -> None:
        """End at once; what waits is not sent."""
        self._writer.transport.abort()

    def get_peer_info(self) -> tuple[str, int] | None:
        """Return the client's address and port, as amqtt asks for them."""
        found = self._writer.get_extra_info("peername") or (self.address, 0)
        return found[0], found[1]

    def get_ssl_info(self) -> ssl.SSLObject | None:
        """Return nothing: names on certificates are the front door's business."""
        return None
