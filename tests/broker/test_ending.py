"""A broker that was told to end lets go of its clients, also where the end of their sessions never comes."""

import asyncio
from pathlib import Path

import pytest

from accord.entropy import SystemEntropy
from accord.files import make_folder
from broker import credentials, service
from broker.config import BrokerConfig, Listener
from broker.exchange import Exchange


class Endless(Exchange):
    """An exchange whose sessions never end."""

    async def shutdown(self) -> None:
        await asyncio.Event().wait()


def test_sessions_that_do_not_end_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "Exchange", Endless)
    monkeypatch.setattr(service, "GOODBYE", 0.05)
    state = make_folder(tmp_path / "broker")
    credentials.write(state / service.CLIENTS, {"aggregator": "p" * 32}, SystemEntropy())
    config = BrokerConfig(state=state, tenant="t", listeners=(Listener(port=0, insecure=True),))

    async def story() -> None:
        stopping = asyncio.Event()
        serving = asyncio.create_task(service.serve(config, stopping, lambda _ports: stopping.set()))
        done, _ = await asyncio.wait({serving}, timeout=10)
        if not done:
            serving.cancel()
        assert serving in done, "the broker still waits"
        serving.result()

    asyncio.run(story())
