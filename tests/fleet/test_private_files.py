"""Secrets that others may read are refused before anything is connected: passwords as much as keys."""

import time
from pathlib import Path

import numpy as np
import pytest

from accord.entropy import SeededEntropy
from accord.files import FileError
from aggregator.config import load as load_aggregator
from aggregator.fleet_making import NewFleet, create
from aggregator.service import AggregatorService
from edge_sdk import EdgeClient
from edge_sdk.config import load as load_device
from quantize import make_bundle

DEVICE = """[device]
id = "dev-000"
tenant = "fleet"
job = "job"
state = "state"
[trust]
identity = "fleet/devices/dev-000/identity"
certificate = "fleet/devices/dev-000/certificate"
roles = "fleet/roles"
root = "fleet/root.pub"
[broker]
host = "127.0.0.1"
port = 1
password = "fleet/devices/dev-000/password"
ca = "fleet/tls/ca.pem"
tls_certificate = "fleet/devices/dev-000/tls.pem"
tls_key = "fleet/devices/dev-000/tls.key"
[work]
bundle = "bundle"
data = "rows.npz"
"""
AGGREGATOR = """[aggregator]
fleet = "fleet"
state = "state"
[broker]
port = 1
[job]
bundle = "bundle"
devices = 3
floor = 3
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    entropy = SeededEntropy(1)
    fleet = create(
        tmp_path / "fleet",
        NewFleet(tenant="fleet", devices=("dev-000",), now=int(time.time()), expires=int(time.time()) + 99),
        entropy,
    )
    bundle = make_bundle("linear", (2,), 2, "softmax", 32, entropy, fleet.publisher())
    (tmp_path / "bundle").write_bytes(bundle)
    x, y = np.zeros((4, 2)), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "rows.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    (tmp_path / "device.toml").write_text(DEVICE)
    (tmp_path / "aggregator.toml").write_text(AGGREGATOR)
    return tmp_path


@pytest.mark.parametrize("secret", ["identity", "password"])
def test_a_device_does_not_start_with_a_secret_that_others_may_read(home: Path, secret: str) -> None:
    path = home / "fleet" / "devices" / "dev-000" / secret
    path.chmod(0o644)
    with pytest.raises(FileError, match=f"{secret} is readable by others: chmod 600"):
        EdgeClient(load_device(home / "device.toml"))


@pytest.mark.parametrize("secret", ["keys/aggregator", "passwords/aggregator"])
def test_nor_does_the_aggregator(home: Path, secret: str) -> None:
    (home / "fleet" / secret).chmod(0o644)
    with pytest.raises(FileError, match=f"{secret} is readable by others: chmod 600"):
        AggregatorService(load_aggregator(home / "aggregator.toml"), lambda _fact: None)
