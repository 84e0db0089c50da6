"""What is written in one turn goes out in one piece, in order; nothing is lost, or waits without being counted."""

import asyncio
from collections.abc import Awaitable, Callable

from broker.wire import AT_ONCE, Wire


class Socket:
    """A connection that keeps each piece that it is handed, and takes none off our hands."""

    def __init__(self) -> None:
        self.transport, self.pieces, self.closed, self.drained = self, list[bytes](), False, list[int]()

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        assert high > low

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.pieces))

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    async def drain(self) -> None:
        self.drained.append(len(self.pieces))

    def close(self) -> None:
        self.closed = True

    abort = close


def told(story: Callable[[Wire, Socket], Awaitable[None]]) -> None:
    async def play() -> None:
        under = Socket()
        await story(Wire(None, under, address="here", name=None), under)  # type: ignore[arg-type]

    asyncio.run(play())


async def turn() -> None:
    await asyncio.sleep(0)


def test_a_turn_is_one_piece_and_is_counted_as_soon_as_it_is_written() -> None:
    async def story(wire: Wire, under: Socket) -> None:
        for number in range(3):
            wire.write(b"%d" % number)
            wire.write_all(b"a", memoryview(b"bc"))
            assert (wire.buffered, under.pieces) == (4 * (number + 1), [])
        await turn()
        assert under.pieces == [b"0abc1abc2abc"]
        assert wire.buffered == 12, "the connection has not taken it"
        wire.write(b"next")
        await turn()
        assert under.pieces[1:] == [b"next"]
        assert wire.buffered == 16

    told(story)


def test_much_is_not_held_until_the_end_of_the_turn() -> None:
    async def story(wire: Wire, under: Socket) -> None:
        wire.write(b"a")
        wire.write(bytes(AT_ONCE - 2))
        assert under.pieces == []
        wire.write(b"b")
        assert [len(piece) for piece in under.pieces] == [AT_ONCE]
        wire.write(b"c")
        assert wire.buffered == AT_ONCE + 1
        await turn()
        assert under.pieces[1:] == [b"c"]

    told(story)


def test_who_waits_for_a_connection_or_ends_it_has_sent_what_was_written() -> None:
    async def story(wire: Wire, under: Socket) -> None:
        wire.write(b"before")
        await wire.drain()
        assert (under.pieces, under.drained) == ([b"before"], [1])
        wire.write(b"refused")
        await wire.close()
        assert (under.pieces[1:], under.closed) == ([b"refused"], True)
        wire.write(b"too late")
        await turn()
        assert len(under.pieces) == 2

    told(story)


def test_what_a_connection_was_cut_off_from_is_not_sent_nor_held() -> None:
    async def story(wire: Wire, under: Socket) -> None:
        wire.write(b"nobody's")
        wire.abort()
        await turn()
        assert (under.pieces, wire.buffered) == ([], 0)

    told(story)
