"""Plain amqtt for benchmarks/brokers.py: its own logins and topic plugins with the same clients, on a free port.

Prints {"port": N}, and serves until standard input ends. The clients are a JSON object of passwords on the first line.
"""

import asyncio
import json
import logging
import sys
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from accord.wire import topics

PASSWORDS: dict[str, str] = {}
TENANT = "fleet"


class Login(BaseAuthPlugin):
    """Clients with their passwords, each under its own name."""

    async def authenticate(self, *, session: Session) -> bool:
        return session.username == session.client_id and PASSWORDS.get(session.client_id) == session.password


class Topics(BaseTopicPlugin):
    """The rules about topics."""

    async def topic_filtering(self, *, session: Session, topic: str, action: Action) -> bool:
        if action is Action.RECEIVE:
            return True
        return topics.allowed(session.client_id, TENANT, "publish" if action is Action.PUBLISH else "subscribe", topic)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    PASSWORDS.update(json.loads(sys.stdin.readline()))
    plugins: dict[str, Any] = {f"{__name__}.{one.__name__}": {} for one in (Login, Topics)}
    broker = Broker({"listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}}, "plugins": plugins})
    await broker.start()
    port = broker._servers["default"].instance.sockets[0].getsockname()[1]  # noqa: SLF001 - it says it nowhere else
    print(json.dumps({"port": port}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    await broker.shutdown()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    asyncio.run(serve())
