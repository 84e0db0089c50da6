"""Plain amqtt with logins and topic rules by its own plugins, served in a thread, for stories that are told of both."""

import asyncio
import threading
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from accord.wire import topics
from tests.broker.served import PASSWORDS, TENANT


class Login(BaseAuthPlugin):
    """The same clients with the same passwords, each under its own name."""

    async def authenticate(self, *, session: Session) -> bool:
        return session.username == session.client_id and PASSWORDS.get(session.client_id) == session.password


class Topics(BaseTopicPlugin):
    """The same rules about topics."""

    async def topic_filtering(self, *, session: Session, topic: str, action: Action) -> bool:
        if action is Action.RECEIVE:
            return True
        wanted = "publish" if action is Action.PUBLISH else "subscribe"
        return topics.allowed(session.client_id, TENANT, wanted, topic)


class Peer:
    """One plain amqtt broker."""

    def __init__(self) -> None:
        self._up = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._thread.start()
        assert self._up.wait(20)

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        plugins: dict[str, Any] = {f"{__name__}.{one.__name__}": {} for one in (Login, Topics)}
        self.exchange = Broker({"listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}}, "plugins": plugins})
        await self.exchange.start()
        self.port = self.exchange._servers["default"].instance.sockets[0].getsockname()[1]
        self._up.set()
        await self._stopping.wait()
        await self.exchange.shutdown()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)
        assert not self._thread.is_alive()
