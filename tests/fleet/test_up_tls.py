"""`accord up` and TLS: a fleet's own files, a throw-away CA where it has none, and plain MQTT by name alone."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from accord import cli
from accord.entropy import SeededEntropy, SystemEntropy
from accord.errors import UsageError
from accord.link import LinkError, UntrustedError
from accord.link.address import Address
from accord.link.greeting import greeted
from accord.link.mqtt import MqttLink
from accord.link.tls import Tls
from aggregator.config import AggregatorConfig, load
from aggregator.fleet_folder import FleetFolder
from aggregator.fleet_making import NewFleet, create
from aggregator.tls_folder import TlsFolder
from aggregator.up_broker import listeners, throwaway
from broker.config_file import load as load_broker
from tests.fleet.process_fleet import until

DAY = 86_400
NOW = int(time.time())


@pytest.fixture
def fleet(tmp_path: Path) -> FleetFolder:
    return create(
        tmp_path / "fleet", NewFleet(tenant="t", devices=("dev-0",), now=NOW, expires=NOW + 90 * DAY), SeededEntropy(1)
    )


@contextmanager
def up(folder: Path, *words: str) -> Iterator[tuple[dict[str, Any], Path]]:
    """Run `accord up`, and yield what it says of itself, and the file of what it tells people."""
    told, where = folder / "told", ("--fleet", str(folder / "fleet"), "--state", str(folder / "state"))
    with told.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "accord", "up", *where, "--port", "0", "--json", *words],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline()), told
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.stdout.close()


def test_a_fleets_own_ca_is_what_the_broker_shows_on_both_ports(fleet: FleetFolder, tmp_path: Path) -> None:
    with up(tmp_path, "--mutual-port", "0") as (said, told):
        assert Path(said["ca"]) == fleet.tls.ca
        tls = Tls(ca=fleet.tls.ca.read_text())
        for port in (said["port"], said["mutual_port"]):
            greeted(Address(host="localhost", port=port, client_id="d", password="", tls=tls), 10).close()
        assert told.read_text() == ""
    assert not (tmp_path / "state" / "transport").exists()


def test_a_fleet_without_one_gets_a_throwaway_ca_and_plain_mqtt_says_why_not(
    fleet: FleetFolder, tmp_path: Path
) -> None:
    before = Tls(ca=fleet.tls.ca.read_text())
    shutil.rmtree(fleet.tls.path)
    with up(tmp_path) as (said, told):
        assert Path(said["ca"]) == tmp_path / "state" / "tls" / "ca.pem"
        assert said["mutual_port"] is None
        assert f"devices pin {said['ca']}" in told.read_text()
        address = Address(host="127.0.0.1", port=said["port"], client_id="d", password="", tls=before)
        with pytest.raises(UntrustedError, match="another fleet's broker"):
            greeted(address, 10)
        ca = Path(said["ca"]).read_text()
    with up(tmp_path) as (again, _):
        assert Path(again["ca"]).read_text() == ca, "devices have pinned it"
    with up(tmp_path, "--insecure") as (said, told):
        assert said["ca"] == ""
        assert "everybody on the network" in told.read_text()
        socket.create_connection(("127.0.0.1", said["port"])).close()


def test_a_throwaway_certificate_is_made_anew_before_it_ends_and_its_ca_is_kept(tmp_path: Path) -> None:
    first = throwaway(tmp_path, "t", "10.0.0.1", NOW, SeededEntropy(1))
    served, pinned = first.server.read_bytes(), first.ca.read_bytes()
    assert throwaway(tmp_path, "t", "10.0.0.1", NOW + 70 * DAY, SeededEntropy(2)).server.read_bytes() == served
    later = throwaway(tmp_path, "t", "10.0.0.1", NOW + 80 * DAY, SeededEntropy(2))
    assert later.server.read_bytes() != served
    assert later.ca.read_bytes() == pinned
    assert later.days_left(NOW + 80 * DAY) == 90


def test_who_is_revoked_before_or_while_the_broker_runs_is_out(tmp_path: Path) -> None:
    names = ("dev-0", "dev-1", "dev-2")
    fleet = create(
        tmp_path / "fleet", NewFleet(tenant="t", devices=names, now=NOW, expires=NOW + 90 * DAY), SeededEntropy(1)
    )

    def link(said: dict[str, Any], name: str, port: str) -> MqttLink:
        folder = fleet.device(name)
        pair = (folder / "tls.pem", folder / "tls.key") if port == "mutual_port" else (None, None)
        tls = Tls(ca=fleet.tls.ca.read_text(), certificate=pair[0], key=pair[1])
        password = (folder / "password").read_text()
        address = Address(host="localhost", port=said[port], client_id=name, password=password, tls=tls)
        return MqttLink(address, entropy=SystemEntropy())

    def revoke(name: str, *words: object) -> None:
        assert cli.main(["fleet", "revoke", name, "--enrolment", str(fleet.path), *map(str, words)]) == 0

    with up(tmp_path, "--mutual-port", "0"):
        pass  # the broker's clients are written
    revoke("dev-0", "--out", tmp_path / "answers")  # while the broker does not run, and nobody is told
    with up(tmp_path, "--mutual-port", "0") as (said, _):
        for port in ("port", "mutual_port"):
            with pytest.raises(LinkError):
                link(said, "dev-0", port)
            link(said, "dev-2", port).close()
        going = link(said, "dev-1", "mutual_port")
        revoke("dev-1", "--state", tmp_path / "state")
        until(lambda: not going.connected, "it is cut")
        going.close()
        for port in ("port", "mutual_port"):
            with pytest.raises(LinkError):
                link(said, "dev-1", port)
        link(said, "dev-2", "mutual_port").close()


def test_what_the_broker_is_told_is_what_it_reads(fleet: FleetFolder, tmp_path: Path) -> None:
    path, state = tmp_path / "broker.toml", tmp_path / 'a "state"'
    path.write_text(listeners(state, "t", ("0.0.0.0", 8883, 8884), fleet.tls, fleet.tls.revoked))
    found = load_broker(path)
    assert (found.state, found.tenant) == (state, "t")
    one, two = found.listeners
    assert (one.port, one.tls and one.tls.clients) == (8883, None)
    assert two.tls is not None
    assert (two.port, two.tls.clients, two.tls.revoked) == (8884, fleet.tls.ca, fleet.tls.revoked)
    path.write_text(listeners(state, "t", ("127.0.0.1", 1883, 8884), None))
    (plain,) = load_broker(path).listeners
    assert (plain.tls, plain.insecure) == (None, True)


def test_an_aggregator_says_what_it_lacks(fleet: FleetFolder, tmp_path: Path) -> None:
    file = tmp_path / "aggregator.toml"
    head = '[aggregator]\nfleet = "fleet"\nstate = "state"\n[broker]\n'
    file.write_text(head)
    found = load(file)
    assert (found.port, found.insecure, found.mutual_port) == (8883, False, None)
    tls = found.secured(fleet.tls)
    assert tls is not None
    assert tls.certificate == fleet.tls.client
    file.write_text(head + 'tls = "elsewhere"\nserver_name = "b"\nmutual_port = 8884\n')
    with pytest.raises(UsageError, match=r"elsewhere lacks files for TLS.*accord fleet tls --out .*elsewhere"):
        load(file).secured(fleet.tls)
    file.write_text(head + "insecure = true\nmutual_port = 8884\n")
    with pytest.raises(UsageError, match="insecure is plain MQTT"):
        load(file)
    plain = AggregatorConfig(fleet=tmp_path, state=tmp_path, host="h", port=1, insecure=True)
    assert plain.secured(TlsFolder(path=tmp_path)) is None


def test_files_for_a_broker_are_made_where_the_ca_lies(
    fleet: FleetFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(*words: object) -> Any:
        capsys.readouterr()
        assert cli.main(["fleet", "tls", *map(str, words), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    out, transport = tmp_path / "tls", fleet.path / "transport"
    found = made("--transport", transport, "--name", "b.example", "--out", out, "--days", 30)
    assert "b.example" in found["names"]
    folder = TlsFolder(path=out)
    assert folder.whole
    assert folder.days_left(NOW) in (29, 30)
    assert folder.ca.read_bytes() == fleet.tls.ca.read_bytes()
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (folder.server_key, folder.client_key))
    made("--transport", tmp_path / "new", "--out", tmp_path / "other")
    assert (tmp_path / "new" / "key").exists(), "a fleet that has no CA gets one"
    assert cli.main(["fleet", "tls", "--transport", str(transport), "--name", "a b", "--out", str(out)]) == 1
    assert "neither a host name nor an address" in capsys.readouterr().err
