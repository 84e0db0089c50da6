"""`accord broker config`: what it prints is what was read before it was printed, and real brokers start from it."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from authority import Authority
from raw_client import RawClient, publish

from accord import cli
from accord.link.session import session_id
from accord.wire import topics
from broker import untested
from broker.process import Process, free_port, installed
from broker.recipe import CTRL
from tests.broker_recipes import FOLDER, made
from tests.waiting import until

COMMAND = topics.down("t", "dev-1", "cmd")
PASSWORDS = {"aggregator": "a" * 24, "dev-1": "b" * 24}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "the authority")


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """The password files of a fleet for development."""
    for name, text in PASSWORDS.items():
        file = tmp_path / "fleet" / ("passwords/aggregator" if name == "aggregator" else f"devices/{name}/password")
        file.parent.mkdir(parents=True)
        file.touch(0o600)
        file.write_text(text)
    return tmp_path / "fleet"


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    running: list[Process] = []
    yield running
    for process in running:
        process.stop()


def test_the_files_are_those_that_were_read() -> None:
    found = {str(path.relative_to(FOLDER)): path.read_text() for path in FOLDER.rglob("*") if path.is_file()}
    assert made() == found, "python -m tests.broker_recipes --write"


@pytest.mark.parametrize("kind", ["emqx", "hivemq", "vernemq"])
def test_what_nobody_ran_says_so(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["broker", "config", kind, "--insecure", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tested"] is False
    assert found["session"] == "derived"
    assert len(found["files"]) == 2
    for text in found["files"].values():
        assert untested.LABEL in text.split("\n", 2)[0] + text.split("\n", 2)[1]


def test_what_can_not_be_is_refused(tmp_path: Path, fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["nats"], "plain"),
        (["nats", "--insecure", "--nodes", "a,b"], "odd number"),
        (["mosquitto", "--insecure", "--nodes", "a,b,c"], "is for nats"),
        (["nats", "--insecure", "--tenant", "a.b"], "has a dot"),
        (["nats", "--insecure", "--fleet", str(fleet)], "--out"),
        (["mosquitto", "--certificate", "x"], "together"),
        (["mosquitto", "--insecure", "--revoked", "x"], "--clients and --revoked need"),
        (["mosquitto", "--certificate", "x", "--key", "x", "--revoked", "x"], "without clients"),
        (["nats", "--certificate", "x", "--key", "x", "--clients", "x", "--revoked", "x"], "is for mosquitto"),
        (["mosquitto", "--insecure", "--fleet", str(tmp_path), "--out", str(tmp_path / "o")], "no fleet's folder"),
    ):
        assert cli.main(["broker", "config", *words]) == 1, words
        assert said in capsys.readouterr().err


def test_secrets_are_written_for_nobody_else_and_never_printed(
    tmp_path: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, count in (("mosquitto", 2), ("nats", 1)):
        out = tmp_path / kind
        words = ["broker", "config", kind, "--insecure", "--fleet", str(fleet), "--out", str(out), "--json"]
        assert cli.main(words) == 0
        printed = capsys.readouterr().out
        private = [file for file in out.iterdir() if file.stat().st_mode & 0o077 == 0]
        assert len(private) == count
        assert "$2a$" not in printed
        assert all(file.read_text() not in printed for file in private)
        assert all(text not in file.read_text() for text in PASSWORDS.values() for file in out.iterdir())


def written(kind: str, fleet: Path, out: Path, tls: list[str], *more: str) -> int:
    port = free_port()
    words = [
        kind,
        "--tenant",
        "t",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--fleet",
        str(fleet),
        "--out",
        str(out),
    ]
    assert cli.main(["broker", "config", *words, *tls, *more]) == 0
    return port


def tls_of(authority: Authority) -> list[str]:
    certificate, key = authority.pair("localhost")
    return ["--certificate", str(certificate), "--key", str(key), "--clients", str(authority.path)]


def talk(port: int, authority: Authority, session: str) -> None:
    """A letter goes from the aggregator to the device; without a certificate nobody gets in."""
    found = []
    for name, password in PASSWORDS.items():
        client = RawClient(port, authority.client(name))
        assert client.login(session_id(name, password, session), password, username=name) == 0
        found.append(client)
    aggregator, device = found
    assert device.subscribe(COMMAND) == b"\x01"
    aggregator.send(publish(COMMAND, b"plan"))
    assert [letter.payload for letter in device.letters(1)] == [b"plan"]
    stranger = None
    try:
        stranger = RawClient(port, authority.client())
        assert stranger.login("dev-1", PASSWORDS["dev-1"]) is None
    except OSError:
        pass
    for client in (*found, *([stranger] if stranger else [])):
        client.vanish()


def listened(process: Process) -> set[int]:
    """The ports that a process listens on."""
    assert process._process is not None
    inodes = set()
    for link in Path(f"/proc/{process._process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed since
            target = str(link.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if row[9] in inodes and row[3] == "0A"}


@pytest.mark.parametrize("access", ["dynamic", "files"])
def test_mosquitto_starts_from_it_with_certificates(
    access: str, tmp_path: Path, fleet: Path, authority: Authority, processes: list[Process]
) -> None:
    out, admin = tmp_path / "mosquitto", free_port()
    port = written("mosquitto", fleet, out, tls_of(authority), "--access", access, "--admin-port", str(admin))
    processes.append(Process([installed("mosquitto"), "-c", str(out / "mosquitto.conf")], "127.0.0.1", port, out))
    processes[0].launch()
    processes[0].ready(10)
    wanted = {port, admin} if access == "dynamic" else {port}
    until(lambda: listened(processes[0]) >= wanted, "it listens everywhere")
    assert listened(processes[0]) == wanted, "and nowhere else"
    talk(port, authority, "plain")
    if access == "files":
        return

    def control(*words: str) -> str:
        """Say one thing to Mosquitto, as docs/brokers.md tells."""
        environment = os.environ | {"XDG_CONFIG_HOME": str(out)}
        command = ["mosquitto_ctrl", "dynsec", *words]
        done = subprocess.run(command, check=True, timeout=20, capture_output=True, text=True, env=environment)
        return done.stdout

    with RawClient(port, authority.client("dev-1")) as device:
        assert device.login("dev-1", PASSWORDS["dev-1"]) == 0
        assert device.subscribe("fl/v1/t/dev/+/down/cmd", "#") == b"\x80\x80", "refused, and told"
        assert (out / CTRL).exists()
        control("disableClient", "dev-1")
        assert device.ended(), "taken out while it runs"
    with RawClient(port, authority.client("dev-1")) as device:
        assert device.login("dev-1", PASSWORDS["dev-1"]) != 0
    for words in (
        ["createRole", "device-dev-2"],
        ["addRoleACL", "device-dev-2", "publishClientSend", "fl/v1/t/dev/dev-2/up/#", "allow"],
        ["addRoleACL", "device-dev-2", "subscribePattern", "fl/v1/t/dev/dev-2/down/#", "allow"],
        ["addRoleACL", "device-dev-2", "publishClientReceive", "fl/v1/t/dev/dev-2/down/#", "allow"],
        ["createClient", "dev-2", "-p", "c" * 24],
        ["addClientRole", "dev-2", "device"],
        ["addClientRole", "dev-2", "device-dev-2"],
    ):
        control(*words)
    with RawClient(port, authority.client("dev-2")) as device:
        assert device.login("dev-2", "c" * 24) == 0
        codes = device.subscribe("fl/v1/t/dev/dev-2/down/cmd", "fl/v1/t/bcast/#", COMMAND)
        assert codes == b"\x01\x01\x80"
    shown = control("listClients").split()
    assert {"admin", "aggregator", "dev-1", "dev-2"} <= set(shown)


@pytest.mark.parametrize("access", ["dynamic", "files"])
def test_mosquitto_with_a_list_of_revoked_certificates_knows_clients_by_theirs(
    access: str, tmp_path: Path, fleet: Path, processes: list[Process]
) -> None:
    authority, out, admin = Authority(tmp_path, "the authority"), tmp_path / "mosquitto", free_port()
    tls = [*tls_of(authority), "--revoked", str(authority.revoke())]
    port = written("mosquitto", fleet, out, tls, "--access", access, "--admin-port", str(admin))
    processes.append(Process([installed("mosquitto"), "-c", str(out / "mosquitto.conf")], "127.0.0.1", port, out))
    processes[0].launch()
    processes[0].ready(10)
    talk(port, authority, "plain")
    mine, other = authority.client("dev-1"), authority.client("aggregator")
    with RawClient(port, mine) as device:
        assert device.login("dev-1") == 0, "its certificate is all that it needs"
        assert device.subscribe(COMMAND) == b"\x01"
        authority.revoke(authority.serial("dev-1"), later=10)
        processes[0].reload()

        def refused() -> bool:
            try:
                with RawClient(port, mine) as again:
                    return again.login("dev-1") != 0
            except OSError:
                return True

        until(refused, "the new list counts")
        if access == "dynamic":
            environment = os.environ | {"XDG_CONFIG_HOME": str(out)}
            command = ["mosquitto_ctrl", "dynsec", "disableClient", "dev-1"]
            subprocess.run(command, check=True, timeout=20, capture_output=True, env=environment)
            assert device.ended(), "the plugin cuts it"
    with RawClient(port, other) as aggregator:
        assert aggregator.login("aggregator") == 0, "others are served"


def test_nats_starts_from_it_with_certificates(
    tmp_path: Path, fleet: Path, authority: Authority, processes: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.recipe.OWN_PORT", free_port())
    monkeypatch.setattr("broker.recipe.WATCH_PORT", free_port())
    out = tmp_path / "nats"
    port = written("nats", fleet, out, tls_of(authority))
    processes.append(Process([installed("nats-server"), "-c", str(out / "nats.conf")], "127.0.0.1", port, out))
    processes[0].launch()
    processes[0].ready(10)
    talk(port, authority, "unqueued")
