"""amqtt behind our front door, started and stopped: for development and up to about 500 devices."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from accord.errors import UsageError
from accord.files import make_folder, write_atomic
from broker.config import BrokerConfig
from broker.credentials import CredentialsFile
from broker.exchange import Exchange
from broker.front_door import FrontDoor
from broker.listeners import Listeners

PUBLIC = 0o644
CLIENTS = "clients"  # the file of client ids and password hashes in the state folder


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
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    exchange = Exchange()
    door = FrontDoor(exchange, config.tenant, known)
    listeners = Listeners(door)
    await listeners.open(config.listeners)
    await exchange.start()
    await listeners.start()
    file = config.state / "broker.port"
    write_atomic(file, str(listeners.ports[0]).encode(), PUBLIC)
    listening(listeners.ports)
    try:
        await stopping.wait()
    finally:
        file.unlink(missing_ok=True)
        listeners.close()
        # Its port is free for the next broker now: clients must not stay with one that only means to end.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(exchange.shutdown(), GOODBYE)
