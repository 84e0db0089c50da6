"""Names with a dot where the broker may be NATS before 2.10, which ends the connection of who uses them in a topic."""

import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from accord import cli
from accord.entropy import SeededEntropy, SystemEntropy
from accord.errors import UsageError
from accord.link.address import Address
from aggregator.config import AggregatorConfig, load
from aggregator.fleet_making import NewFleet, create
from aggregator.service import AggregatorService
from broker import mosquitto
from broker.config import Listener
from broker.process import free_port
from edge_sdk import load as load_device
from quantize import make_bundle

JOB = """[job]
name = "digits.v2"
bundle = "bundle"
task = "classification"
rounds = 1
devices = 3
floor = 3
[training]
epochs = 1
batch_size = 8
learning_rate = 0.1
"""
DEVICE = """[device]
id = "{id}"
tenant = "{tenant}"
job = "{job}"
state = "state"
[broker]
host = "b"
port = 1883
session = "{session}"
[work]
bundle = "bundle"
"""


def test_a_device_with_such_a_name_is_told_before_it_connects(tmp_path: Path) -> None:
    plain = {"id": "pi.7", "tenant": "t.u", "job": "j.k", "session": "plain"}
    fine = {"id": "pi-7", "tenant": "t", "job": "j", "session": "unqueued"}
    file = tmp_path / "device.toml"
    for values in (plain, fine):
        file.write_text(DEVICE.format(**values))
        load_device(file)
    for name, said in (("id", "device 'pi.7' has a dot"), ("tenant", "tenant 't.u'"), ("job", "job 'j.k'")):
        file.write_text(DEVICE.format(**fine | {name: plain[name]}))
        with pytest.raises(UsageError, match=said):
            load_device(file)
    for session in ("derived", "unqueued"):
        with pytest.raises(UsageError, match=r"'pi\.7' has a dot, which NATS before 2\.10"):
            Address(host="b", port=1, client_id="pi.7", password="p", session=session)


def test_a_job_of_such_a_name_is_refused_where_it_is_made(tmp_path: Path) -> None:
    file = tmp_path / "aggregator.toml"
    head = '[aggregator]\nfleet = "fleet"\nstate = "state"\n[broker]\nsession = "unqueued"\n'
    file.write_text(head + JOB)
    with pytest.raises(UsageError, match=r"job 'digits\.v2' has a dot"):
        load(file)
    assert load_of(file, head.replace("unqueued", "plain") + JOB).job is not None


def load_of(file: Path, text: str) -> AggregatorConfig:
    file.write_text(text)
    return load(file)


def test_an_aggregator_fails_a_job_of_such_a_name_and_goes_on(tmp_path: Path) -> None:
    now, port, told = int(time.time()), free_port(), []
    names = NewFleet(tenant="t", devices=("dev-0",), now=now, expires=now + 86_400)
    fleet = create(tmp_path / "fleet", names, SeededEntropy(1))
    mosquitto.write(tmp_path / "broker", "t", fleet.passwords(), SystemEntropy())
    broker = mosquitto.Mosquitto(tmp_path / "broker", Listener(port=port, insecure=True))
    broker.start()
    (tmp_path / "bundle").write_bytes(make_bundle("linear", (6,), 3, "softmax", 8, SeededEntropy(5), fleet.publisher()))
    (tmp_path / "job.toml").write_text(JOB)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    assert cli.main(["job", "start", "--config", str(tmp_path / "job.toml"), "--state", str(state)]) == 0
    config = AggregatorConfig(
        fleet=fleet.path, state=state, host="127.0.0.1", port=port, session="derived", insecure=True
    )
    failed = threading.Event()

    def tell(fact: Mapping[str, Any]) -> None:
        told.append(fact)
        if fact["event"] == "failed":
            failed.set()
            service.stop()

    service = AggregatorService(config, tell)
    try:
        service.run()
    finally:
        service.close()
        broker.stop()
    assert failed.is_set()
    assert "job 'digits.v2' has a dot" in told[-1]["reason"], json.dumps(told)
