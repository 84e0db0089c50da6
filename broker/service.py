"""amqtt behind our front door, started and stopped: for development and up to about 500 devices."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from accord.errors import UsageError
from accord.files import make_folder, write_atomic
from accord.ids import checked_name
from broker.credentials import CredentialsFile
from broker.exchange import Exchange
from broker.front_door import FrontDoor

PUBLIC = 0o644
CLIENTS = "clients"  # the file of client ids and password hashes in the state folder


@dataclass(frozen=True, kw_only=True)
class BrokerConfig:
    """Where to listen and whom to let in; port 0 takes any free one."""

    state: Path
    tenant: str
    host: str = "127.0.0.1"
    port: int = 1883

    def __post_init__(self) -> None:
        checked_name(self.tenant, "tenant")
        if not 0 <= self.port < 65_536:
            raise UsageError(f"port {self.port} is not from 0 to 65535")


GOODBYE = 3.0
"""Seconds for the end of all sessions; then they are cut."""


async def serve(config: BrokerConfig, stopping: asyncio.Event, listening: Callable[[int], None]) -> None:
    """Listen until `stopping`; the port also stands in `state/broker.port` while connections are taken.

    Args:
        config: where and for whom.
        stopping: set by whoever wants it to end.
        listening: called with the port once connections are taken.

    Raises:
        UsageError: the port is taken, or the clients' file is not ours.
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
    try:
        server = await asyncio.start_server(
            door.connected, config.host, config.port, backlog=1_024, start_serving=False
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"{config.host}:{config.port} can't be listened on ({reason}): is another broker there?"
        ) from error
    await exchange.start()
    await server.start_serving()
    port: int = server.sockets[0].getsockname()[1]
    file = config.state / "broker.port"
    write_atomic(file, str(port).encode(), PUBLIC)
    listening(port)
    try:
        await stopping.wait()
    finally:
        file.unlink(missing_ok=True)
        server.close()
        # Its port is free for the next broker now: clients must not stay with one that only means to end.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(exchange.shutdown(), GOODBYE)
