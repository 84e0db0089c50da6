"""Brokers by what they cost: small letters and chunks per CPU second, connections, heartbeats, and a storm of devices.

    python benchmarks/brokers.py --broker embedded --peer amqtt --json

One process plays the aggregator and all devices over loopback; the broker is another, and its CPU time alone counts.
Every letter goes from a device to the aggregator or back, through logins and topic rules. In the storm all devices lose
their connection at once, five letters for each are published meanwhile, and all come back at once with one of their
own: it is over when all have arrived. Times depend on what else the machine does; per CPU second they depend on it
less, and `storm_cpu_s` is what the broker itself worked in the storm.
"""

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from peers.mqtt_client import PATIENCE, Client, Running, come

from accord.entropy import SystemEntropy
from accord.errors import UsageError
from accord.files import make_folder
from accord.wire import topics
from broker import credentials, mosquitto
from broker.config import Listener
from broker.nats_processes import Nats
from broker.process import free_port

TENANT = "fleet"
AGGREGATOR = "aggregator"
CHUNK, SMALL = 65_000, 100  # bytes of payload: with its envelope and topic a chunk is 64 KiB
PARALLEL = 100  # devices that log in at once
PER_DEVICE = 5  # letters for each in the storm
DEVICES = {"embedded": 500}
MORE_DEVICES = 1_000


def cpu(process: int) -> float:
    """CPU seconds that a process has used."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def resident(process: int) -> float:
    """Resident memory in kB."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1_024


async def stream(running: Running, passwords: Mapping[str, str], size: int, window: int, seconds: float) -> float:
    """Letters of QoS 1 per CPU second from one device to the aggregator, `window` of them on their way."""
    process = running[1]
    credit, arrived = asyncio.Semaphore(window), 0

    def heard(_topic: str, _payload: bytes) -> None:
        nonlocal arrived
        arrived += 1
        credit.release()

    aggregator = await come(running, AGGREGATOR, passwords, heard)
    await aggregator.subscribe(topics.everything_up(TENANT)[0])
    device = await come(running, "dev-0", passwords, heard)
    topic = topics.upload(TENANT, "dev-0", 0, bytes(16)) if size > SMALL else topics.up(TENANT, "dev-0", "req")
    payload, until, before, sent = bytes(size), time.monotonic() + seconds, cpu(process), 0
    while time.monotonic() < until:
        await credit.acquire()
        device.publish(topic, payload, 1)
        sent += 1
        if device.transport.get_write_buffer_size() > 1 << 20:
            await asyncio.sleep(0)
    for _ in range(window):
        await asyncio.wait_for(credit.acquire(), PATIENCE)
    used = cpu(process) - before
    for one in (aggregator, device):
        one.transport.abort()
    if arrived != sent:
        raise RuntimeError(f"{sent - arrived} of {sent} letters were lost")
    return arrived / used


async def fleet(
    running: Running, passwords: Mapping[str, str], count: int, told: Callable[[str], None]
) -> dict[str, Any]:
    """Connections, heartbeats and the storm."""
    process = running[1]
    names = [f"dev-{number}" for number in range(count)]
    beats: list[float] = []
    requests: set[str] = set()
    letters: dict[str, set[bytes]] = {name: set() for name in names}

    def up(topic: str, payload: bytes) -> None:
        if topic.endswith("/beat"):
            beats.append(time.monotonic() - float(payload))
        else:
            requests.add(topic.split("/")[4])

    aggregator = await come(running, AGGREGATOR, passwords, up)
    await aggregator.subscribe(topics.everything_up(TENANT)[0])

    async def arrive(name: str, *, new: bool) -> Client:
        async with gate:
            device = await come(running, name, passwords, lambda _t, p: letters[name].add(p), clean=False)
            if new:
                await device.subscribe(topics.down(TENANT, name, "cmd"))
            return device

    gate = asyncio.Semaphore(PARALLEL)
    told(f"{count} devices connect")
    before, begun = resident(process), time.monotonic()
    devices = await asyncio.gather(*(arrive(name, new=True) for name in names))
    connecting = time.monotonic() - begun
    memory = (resident(process) - before) / count
    told("heartbeats for 10 s")
    for turn in range(10 * 100):
        for number in range(turn % 100, count, 100):  # each device once in a second
            devices[number].publish(topics.up(TENANT, names[number], "beat"), b"%.6f" % time.monotonic(), 0)
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    told("the storm")
    for device in devices:
        device.transport.abort()
    await asyncio.sleep(1)  # the broker notices
    for number in range(PER_DEVICE):
        for name in names:
            aggregator.publish(topics.down(TENANT, name, "cmd"), b"%d" % number, 1)
            if aggregator.transport.get_write_buffer_size() > 1 << 18:
                await asyncio.sleep(0.001)
    gate = asyncio.Semaphore(count)
    used = cpu(process)
    begun = time.monotonic()

    async def back(name: str) -> Client:
        device = await arrive(name, new=False)
        device.publish(topics.up(TENANT, name, "req"), b"back", 1)
        return device

    returning = asyncio.gather(*(back(name) for name in names))
    while time.monotonic() - begun < PATIENCE:
        if len(requests) == count and all(len(one) == PER_DEVICE for one in letters.values()):
            break
        await asyncio.sleep(0.01)
    storm, used = time.monotonic() - begun, cpu(process) - used
    devices = await asyncio.wait_for(returning, PATIENCE)
    lost = count - len(requests) + sum(PER_DEVICE - len(one) for one in letters.values())
    for device in (*devices, aggregator):
        device.transport.abort()
    beats.sort()
    return {
        "connections": count,
        "kb_per_connection": round(memory, 1),
        "connect_per_s": round(count / connecting),
        "heartbeat_p50_ms": round(beats[len(beats) // 2] * 1e3, 2),
        "heartbeat_p99_ms": round(beats[len(beats) * 99 // 100] * 1e3, 2),
        "storm_devices": count,
        "storm_s": round(storm, 2),
        "storm_lost": lost,
        "storm_cpu_s": round(used, 2),
    }


@contextlib.contextmanager
def embedded(folder: Path, passwords: Mapping[str, str]) -> Iterator[Running]:
    """Our own broker."""
    state = make_folder(folder / "state")
    credentials.write(state / "clients", passwords, SystemEntropy())
    words = ["broker", "run", "--state", str(state), "--port", "0", "--insecure", "--leashed", "--json"]
    with _leashed([sys.executable, "-m", "accord", *words], folder, "") as running:
        yield running


@contextlib.contextmanager
def amqtt(folder: Path, passwords: Mapping[str, str]) -> Iterator[Running]:
    """amqtt as it comes, with plugins for logins and topics."""
    words = [sys.executable, str(Path(__file__).parent / "peers" / "plain_amqtt.py")]
    with _leashed(words, folder, json.dumps(dict(passwords)) + "\n") as running:
        yield running


@contextlib.contextmanager
def debian_mosquitto(folder: Path, passwords: Mapping[str, str]) -> Iterator[Running]:
    """Mosquitto with the configuration that we write for it."""
    mosquitto.write(folder / "state", TENANT, passwords, SystemEntropy())
    port = free_port()
    found = mosquitto.Mosquitto(folder / "state", Listener(port=port, insecure=True))
    found.start()
    try:
        yield port, found.pid, "plain"
    finally:
        found.stop()


@contextlib.contextmanager
def one_nats(folder: Path, passwords: Mapping[str, str]) -> Iterator[Running]:
    """One server of NATS with the configuration that we write for it."""
    found = Nats(folder / "state", TENANT, passwords, SystemEntropy())
    found.start()
    try:
        yield found.ports[0], found.pids[0], "derived"
    finally:
        found.stop()


BROKERS = {"embedded": embedded, "mosquitto": debian_mosquitto, "nats": one_nats}
"""How a broker is started: a context manager of a folder and the clients' passwords, which yields `Running`."""
PEERS = {"amqtt": amqtt}


@contextlib.contextmanager
def _leashed(words: list[str], folder: Path, said: str) -> Iterator[Running]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(said.encode())
    process.stdin.flush()
    try:
        line = process.stdout.readline()
        if not line:
            raise UsageError(f"the broker did not start: {(folder / 'log').read_text()[-500:]}")
        yield json.loads(line)["port"], process.pid, "plain"
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def measured(name: str, start: Any, devices: int, seconds: float) -> dict[str, Any]:
    """Return the figures of one broker."""

    def told(what: str) -> None:
        sys.stderr.write(f"\r{name}: {what}\033[K")

    passwords = {AGGREGATOR: secrets.token_hex(12)} | {f"dev-{n}": secrets.token_hex(12) for n in range(devices)}
    with tempfile.TemporaryDirectory() as folder, start(Path(folder), passwords) as running:
        told(f"letters of {SMALL} bytes")
        small = asyncio.run(stream(running, passwords, SMALL, 500, seconds))
        told("chunks of 64 KiB")
        chunks = asyncio.run(stream(running, passwords, CHUNK, 32, seconds))
        found = asyncio.run(fleet(running, passwords, devices, told))
    told("done\n")
    return {"small_msgs_per_cpu_s": round(small), "chunk_mb_per_cpu_s": round(chunks * CHUNK / 1e6), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=BROKERS, default="embedded")
    parser.add_argument("--peer", choices=PEERS, help="measure this one beside it, and add its figures as `peer`")
    parser.add_argument("--storm", type=int, help="devices (default 500 for the embedded broker, 1000 for others)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each stream (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    devices = arguments.storm or DEVICES.get(arguments.broker, MORE_DEVICES)
    found = measured(arguments.broker, BROKERS[arguments.broker], devices, arguments.seconds)
    if arguments.peer:
        found["peer"] = {"broker": arguments.peer} | measured(
            arguments.peer, PEERS[arguments.peer], devices, arguments.seconds
        )
    print(json.dumps(found) if arguments.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
