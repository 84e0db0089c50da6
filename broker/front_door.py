"""The front door: who a client is, is settled before a session is touched. What it says then is the gate's business."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from accord.errors import CodecError
from accord.wire import topics
from broker import packets
from broker.attempts import Attempts
from broker.config import Limits
from broker.credentials import CredentialsFile, Entry
from broker.exchange import Exchange
from broker.gate import Gate, read_packet
from broker.packets import Packet
from broker.strangers import Strangers
from broker.wire import Wire

LOG = logging.getLogger("accord.broker")
LARGEST_FIRST, HEAD = 4_096, 5  # bytes of a CONNECT, and what may stand before them
GOODBYE = 10.0  # seconds in which an older connection of a client must have ended


class _Guest:
    """One connection that has logged in, by which entry, and the task that serves it."""

    def __init__(self, wire: Wire, entry: Entry) -> None:
        self.wire, self.entry, self._task = wire, entry, asyncio.current_task()
        self.left, self.cut = asyncio.Event(), False

    async def sent_away(self) -> None:
        """End the connection and wait until its session is no longer in use.

        Raises:
            TimeoutError: it can't be ended.
        """
        self.wire.abort()
        try:
            await asyncio.wait_for(self.left.wait(), GOODBYE)
        except TimeoutError:
            if self._task is not None:
                self._task.cancel()
            await asyncio.wait_for(self.left.wait(), GOODBYE)


class _RefusedError(Exception):
    """A login that is refused; the CONNACK that says so."""

    def __init__(self, reply: bytes) -> None:
        super().__init__()
        self.reply = reply


class FrontDoor:
    """Lets clients in to one exchange.

    Args:
        exchange: what is behind it.
        tenant: whose topics it carries.
        credentials: who may log in.
        limits: of packets, connections and time.
        attempts: where refusals are noted.
    """

    def __init__(
        self, exchange: Exchange, tenant: str, credentials: CredentialsFile, limits: Limits, attempts: Attempts
    ) -> None:
        self.login, self.largest_first = limits.login, LARGEST_FIRST + HEAD
        self._exchange, self._tenant, self._credentials = exchange, tenant, credentials
        self._limits, self._attempts = limits, attempts
        self._guests: dict[str, list[_Guest]] = {}  # of each client the newest is the last, those before are leaving
        self._forgetting: dict[str, asyncio.Task[None]] = {}
        self.strangers = Strangers(limits.per_second, limits.at_once, limits.strangers)

    @property
    def clients(self) -> tuple[str, ...]:
        """Those who are logged in."""
        return tuple(self._guests)

    async def connected(self, address: str, secured: Callable[[], Awaitable[Wire]], abort: Callable[[], None]) -> None:
        """Serve one connection until it ends; see `broker.listeners`."""
        if not self.strangers.welcome(address, asyncio.get_running_loop().time()):
            self._attempts.note("rate", "%s comes too often", address)
            abort()
            return

        def leave() -> None:
            self._attempts.note("crowd", "%s did not log in and makes room", address)
            abort()

        ticket = self.strangers.enter(leave)
        try:
            await self._meet(address, secured, ticket)
        except CodecError as error:
            self._attempts.note("malformed", "%s is turned away: %s", address, error)
        except ssl.SSLError as error:
            self._attempts.note("tls", "%s is turned away: TLS failed: %s", address, error.reason or error)
        except TimeoutError:
            self._attempts.note("late", "%s did not log in within %.0f s", address, self._limits.login)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.strangers.left(ticket)

    def revoked(self, name: str) -> None:
        """Note that a client of this name showed a certificate that is revoked, and is cut off."""
        self._attempts.note("revoked", "%.80s shows a certificate that is revoked and is cut off", name)

    def review(self) -> None:
        """Cut those who may no longer be here: their entry is gone from the file, or is over. Returns at once."""
        known, now = self._credentials.known(), time.time()
        for client, guests in self._guests.items():
            for guest in guests:
                if not guest.cut and (guest.entry not in known or not guest.entry.valid(now)):
                    guest.cut = True
                    self._attempts.note("revoked", "%s may be logged in no more and is cut off", client)
                    guest.wire.abort()
        # Each time, and not when the file was replaced: whose secret was being hashed then has come in since. Each by
        # itself: one whose connection does not end must not keep the sessions of others.
        for client in self._exchange.sessions:
            if not known.lists(client, now) and client not in self._forgetting:
                task = asyncio.ensure_future(self._forget(client))
                self._forgetting[client] = task
                task.add_done_callback(partial(self._forgotten, client))

    def _forgotten(self, client: str, _task: object) -> None:
        del self._forgetting[client]

    async def _forget(self, client: str) -> None:
        """End a client's connections and forget its session; a connection that does not end is tried again later."""
        try:
            await self._sent_away(self._guests.get(client, ()))
            await self._exchange.forget(client)
        except TimeoutError:
            LOG.warning("a connection of %s does not end, and its session is kept until it does", client)
        except Exception:  # whatever it was, the next review tries again
            LOG.exception("the session of %s could not be forgotten", client)

    @staticmethod
    async def _sent_away(guests: Sequence[_Guest]) -> None:
        """End connections, all at once.

        Raises:
            TimeoutError: one can't be ended.
        """
        if guests:
            await asyncio.gather(*(guest.sent_away() for guest in guests))

    async def _meet(self, address: str, secured: Callable[[], Awaitable[Wire]], ticket: object) -> None:
        wire = None
        try:
            async with asyncio.timeout(self._limits.login):
                wire = await secured()
                first = await read_packet(wire, LARGEST_FIRST, first=packets.CONNECT << 4)
                connect = packets.read_connect(first)
                try:
                    entry = await self._let_in(connect, wire.name, address)
                except _RefusedError as refusal:
                    wire.write(refusal.reply)
                    return
            self.strangers.left(ticket)
            wire.admit(self._limits.packet)
            await self._admit(connect, first, wire, entry)
        finally:
            if wire is not None:
                await wire.close()

    async def _let_in(self, connect: packets.Connect, name: str | None, address: str) -> Entry:
        """Return the entry by which a client may log in.

        Args:
            connect: what the client says.
            name: the common name of its certificate, where one is required.
            address: where it comes from.

        Raises:
            _RefusedError: it may not.
        """
        note, client = self._attempts.note, connect.client
        if connect.level != 4:
            note("version", "%s speaks MQTT of level %d; 4, which is 3.1.1, is spoken here", address, connect.level)
            raise _RefusedError(packets.CONNACK_5 if connect.level == 5 else packets.connack(packets.REFUSED_VERSION))
        who = connect.username if name is None else name
        if who != client or connect.username not in (None, who):
            proof = "a certificate" if name is not None else "a login"
            note("identity", "%s with %s of %.80r poses as %.80r", address, proof, who, client)
            if name is not None:
                raise _RefusedError(packets.connack(packets.REFUSED_CLIENT))
        # A certificate is proof enough of who has nothing else; who has a password, or sends one, must have it right.
        if name is not None and connect.password is None:
            entry = self._credentials.known().certified(name, time.time())
        else:
            entry = await self._proven(who or "", connect.password or b"")
        if entry is None:
            note("secret", "%s as %.80r is not known, or its password or token is wrong or over", address, who)
            raise _RefusedError(packets.connack(packets.REFUSED_PASSWORD))
        if who != client:
            raise _RefusedError(packets.connack(packets.REFUSED_CLIENT))
        if connect.will_topic and not topics.allowed(client, self._tenant, "publish", connect.will_topic):
            note("will", "%s brings a will for %.120r", client, connect.will_topic)
            raise _RefusedError(packets.connack(packets.REFUSED_CLIENT))
        if len(self._guests) >= self._limits.clients and client not in self._guests:
            note("full", "%d clients are connected, %s is one too many", len(self._guests), client)
            raise _RefusedError(packets.connack(packets.REFUSED_FULL))
        return entry

    async def _proven(self, client: str, secret: bytes) -> Entry | None:
        """Return the entry that a secret opens; others are served while it is hashed."""
        known, now = self._credentials.known(), time.time()
        entry = self._credentials.recalled(client, secret, now)
        if entry is None:
            entry = await asyncio.to_thread(known.check, client, secret, now)
            if entry is not None:
                self._credentials.recall(entry, secret)
        return entry

    async def _admit(self, connect: packets.Connect, first: Packet, wire: Wire, entry: Entry) -> None:
        guest, present = _Guest(wire, entry), self._guests.setdefault(connect.client, [])
        before = tuple(present)
        present.append(guest)
        gate = None
        try:
            # Take-over: every older connection ends before this one touches the session. One that had to wait itself
            # for an older one, and was sent away meanwhile, touches it no more.
            try:
                await self._sent_away(before)
            except TimeoutError:
                LOG.warning("an older connection of %s does not end: the new one is turned away", connect.client)
                return
            if present[-1] is not guest:
                return
            gate = Gate(
                self._tenant,
                connect,
                first,
                wire,
                exchange=self._exchange,
                limits=self._limits,
                attempts=self._attempts,
            )
            await self._exchange.serve(gate, wire)
        finally:
            if gate is not None:
                gate.close()
            guest.left.set()
            present.remove(guest)
            if not present:
                del self._guests[connect.client]
