"""Our broker in a thread of the test, with two devices and the aggregator, so that a test can look inside."""

import asyncio
import threading
from pathlib import Path

from accord.entropy import SystemEntropy
from accord.files import make_folder
from broker import credentials, service
from broker.config import BrokerConfig, Limits, Listener
from tests.broker.raw_client import PING, PONG, RawClient

TENANT = "t"
PASSWORDS = {"aggregator": "a" * 20, "dev-1": "b" * 20, "dev-2": "c" * 20}
PLAIN = (Listener(port=0, insecure=True),)


class Served:
    """One broker; `ports` are those of its listeners."""

    def __init__(self, state: Path, listeners: tuple[Listener, ...] = PLAIN, limits: Limits | None = None) -> None:
        self.state = make_folder(state)
        self.clients = state / service.CLIENTS
        if not self.clients.exists():
            credentials.write(self.clients, PASSWORDS, SystemEntropy())
        self.config = BrokerConfig(state=state, tenant=TENANT, listeners=listeners, limits=limits or Limits())
        self.ports: tuple[int, ...] = ()
        self.failure: BaseException | None = None
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._up.wait(20)
        if self.failure is not None:
            raise self.failure

    @property
    def port(self) -> int:
        return self.ports[0]

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(20)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        async def story() -> None:
            self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
            await service.serve(self.config, self._stopping, self._listening)

        try:
            asyncio.run(story())
        except BaseException as failure:  # noqa: BLE001 - the test shows it
            self.failure = failure
        finally:
            self._up.set()

    def _listening(self, ports: tuple[int, ...]) -> None:
        self.ports = ports
        self._up.set()


def come(broker: Served, client: str, *, clean: bool = True, receive_buffer: int = 0, **more: object) -> RawClient:
    """Log a client in."""
    found = RawClient(broker.port, receive_buffer=receive_buffer)
    assert found.login(client, PASSWORDS[client], clean=clean, **more) == 0
    return found


def reads(client: RawClient) -> None:
    """Wait until the broker has read all that a client said."""
    client.send(PING)
    while (found := client.next()) != PONG:
        assert found is not None
