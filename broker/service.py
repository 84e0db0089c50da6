"""amqtt behind our front door, started and stopped: for development and up to about 500 devices."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from amqtt.broker import Broker
from amqtt.session import Session

from accord.errors import UsageError
from accord.files import make_folder, write_atomic
from accord.ids import checked_name
from broker import credentials
from broker.front_door import LISTENER, FrontDoor

PUBLIC = 0o644


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


class _Broker(Broker):  # type: ignore[misc]
    """amqtt, with retained messages only for those who subscribed."""

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # amqtt walks over everybody's filters when a client connects: those of others are none of its business.
        holders = self._subscriptions.get(subscription[0], [])
        if any(holder.client_id == session.client_id for holder, _ in holders):
            await super()._publish_retained_messages_for_subscription(subscription, session)


async def serve(config: BrokerConfig, stopping: asyncio.Event) -> None:
    """Listen until `stopping`; the port is written to `state/broker.port` once connections are taken.

    Raises:
        UsageError: the port is taken, or the clients' file is not ours.
        FileError: the state folder can't be used.
    """
    make_folder(config.state)
    known = credentials.read(config.state / "clients")
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    broker = _Broker(
        {
            "listeners": {LISTENER: {"type": "external"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    door = FrontDoor(broker, config.tenant, known)
    try:
        server = await asyncio.start_server(door.connected, config.host, config.port, backlog=1_024)
    except OSError as error:
        raise UsageError(f"{config.host}:{config.port} can't be listened on: {error.strerror}") from error
    port = server.sockets[0].getsockname()[1]
    write_atomic(config.state / "broker.port", str(port).encode(), PUBLIC)
    try:
        await stopping.wait()
    finally:
        server.close()
        await broker.shutdown()
