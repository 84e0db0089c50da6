"""amqtt behind our front door, started and stopped: for development and up to about 500 devices."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from accord.errors import UsageError
from accord.files import FolderLock, make_folder, write_atomic
from broker.attempts import Attempts
from broker.config import BrokerConfig
from broker.credentials import CredentialsFile
from broker.exchange import Exchange
from broker.front_door import FrontDoor
from broker.listeners import Listeners
from broker.status import StatusSocket, described

LOG = logging.getLogger("accord.broker")
PUBLIC = 0o644
CLIENTS, PORT = "clients", "broker.port"  # files in the state folder: who may log in, and the first port
REVIEW = 0.5  # seconds between looks at the files

GOODBYE = 3.0
"""Seconds for the end of all sessions; then they are cut."""


async def serve(config: BrokerConfig, stopping: asyncio.Event, listening: Callable[[tuple[int, ...]], None]) -> None:
    """Listen until `stopping`; the first port also stands in `state/broker.port` while connections are taken.

    Args:
        config: where and for whom.
        stopping: set by whoever wants it to end.
        listening: called with the ports, in the order of the listeners, once connections are taken.

    Raises:
        UsageError: a port is taken, a file of the TLS is not one, or the clients' file is not ours.
        FileError: the state folder can't be used.
    """
    make_folder(config.state)
    if not (config.state / CLIENTS).exists():
        raise UsageError(
            f"nobody may log in yet: `accord broker add --state {config.state} --client ID --password FILE` for the "
            "aggregator and for each device"
        )
    known = CredentialsFile(config.state / CLIENTS)
    for name in ("amqtt", "transitions", "websockets"):
        logging.getLogger(name).setLevel(logging.ERROR)
    lock = FolderLock(config.state)
    try:
        loop = asyncio.get_running_loop()
        attempts = Attempts(loop.time)
        exchange = Exchange(config.limits, attempts)
        door = FrontDoor(exchange, config.tenant, known, config.limits, attempts)
        listeners = Listeners(door)
        await listeners.open(config.listeners)
        await exchange.start()
        await listeners.start()
        file = config.state / PORT
        write_atomic(file, str(listeners.ports[0]).encode(), PUBLIC)
        status = await StatusSocket.open(
            config.state, lambda: described(config, listeners.ports, door, exchange, attempts)
        )
        watching = asyncio.ensure_future(_watch(door, listeners))
        listening(listeners.ports)
        try:
            await stopping.wait()
        finally:
            watching.cancel()
            status.close()
            file.unlink(missing_ok=True)
            listeners.close()
            # Its port is free for the next broker now: clients must not stay with one that only means to end.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(exchange.shutdown(), GOODBYE)
            await listeners.end()
    finally:
        lock.close()


async def _watch(door: FrontDoor, listeners: Listeners) -> None:
    """Look at the clients' file and the certificates again, for as long as the broker runs."""
    while True:
        await asyncio.sleep(REVIEW)
        try:
            door.review()
            listeners.renew()
        except Exception:  # whatever it was: whoever is revoked next must still be cut off
            LOG.exception("the clients' file and the certificates could not be looked at")
