"""Packets that are not what they should be, and a broker as a process that must bear them while a fleet goes on."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from accord.entropy import SystemEntropy
from accord.files import make_folder
from accord.wire import topics
from broker import credentials
from broker.status import ask
from tests.broker.raw_client import GOODBYE, PING, RawClient, connect, puback, publish, subscribe
from tests.broker.served import PASSWORDS, TENANT
from tests.waiting import until

COMMAND = topics.down(TENANT, "dev-1", "cmd")
REQUEST = topics.up(TENANT, "dev-1", "req")
ATTACKER = "dev-2"
OWN = topics.up(TENANT, ATTACKER, "req")
EVERY = 200  # packets between looks at the fleet
MOST_GROWTH = 64 << 20  # bytes that the process may grow by
SEEDS = (
    connect(ATTACKER, PASSWORDS[ATTACKER]),
    connect(ATTACKER, PASSWORDS[ATTACKER], clean=False, will=(topics.up(TENANT, ATTACKER, "state"), b"gone", 1, True)),
    connect("dev-1", PASSWORDS[ATTACKER], username=ATTACKER),
    connect("dev-1", "guessed", clean=False),
    connect(ATTACKER, PASSWORDS[ATTACKER], level=5),
    publish(OWN, b"own"),
    publish(OWN, b"x" * 300, qos=0),
    publish(topics.up(TENANT, ATTACKER, "state"), b"kept", retain=True),
    publish(REQUEST, b"forged"),
    publish(COMMAND, b"forged", retain=True),
    publish(topics.job(TENANT, "j", "round"), b"forged", retain=True),
    subscribe("fl/v1/t/bcast/#"),
    subscribe(COMMAND),
    subscribe("#", "$SYS/#", "+/+/+/+/+/+/+"),
    b"\xa2" + subscribe("fl/v1/t/bcast/#")[1:],
    puback(1),
    PING,
    GOODBYE,
)


def damaged(rng: np.random.Generator, seeds: Sequence[bytes] = SEEDS) -> bytes:
    """One packet, or what is left of it: bits turned, bytes lost, doubled or made up, a length that lies, or noise."""
    data = bytearray(seeds[int(rng.integers(len(seeds)))])
    for _ in range(int(rng.integers(0, 4))):
        at = int(rng.integers(len(data))) if data else 0
        match int(rng.integers(6)):
            case 0:
                data[at : at + 1] = bytes([data[at] ^ 1 << int(rng.integers(8))]) if data else b""
            case 1:
                del data[at:]
            case 2:
                data[at:at] = rng.bytes(int(rng.integers(1, 9)))
            case 3:
                del data[at : at + int(rng.integers(1, 9))]
            case 4:
                data[1:2] = rng.bytes(int(rng.integers(1, 5)))
            case _:
                data += seeds[int(rng.integers(len(seeds)))]
    return bytes(data)


class Besieged:
    """A broker as a process, with an aggregator and a device that go on through it all."""

    def __init__(self, folder: Path) -> None:
        self.state = make_folder(folder)
        credentials.write(self.state / "clients", PASSWORDS, SystemEntropy())
        words = ["broker", "run", "--state", str(self.state), "--tenant", TENANT, "--port", "0", "--insecure"]
        with (self.state / "log").open("wb") as log:
            self._process = subprocess.Popen([sys.executable, "-m", "accord", *words], stdout=log, stderr=log)
        until((self.state / "broker.port").exists, "the broker listens", 30)
        self.port = int((self.state / "broker.port").read_text())
        self.aggregator, self.device = RawClient(self.port), RawClient(self.port)
        assert self.aggregator.login("aggregator", PASSWORDS["aggregator"], keepalive=300) == 0
        self.aggregator.subscribe(topics.everything_up(TENANT)[0])
        assert self.device.login("dev-1", PASSWORDS["dev-1"], clean=False, keepalive=300) == 0
        self.device.subscribe(COMMAND, "fl/v1/t/bcast/#")
        self._turn = 0
        self.before = self.memory()

    def memory(self) -> int:
        """Resident bytes of the process."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * 4_096

    def goes_on(self) -> None:
        """Nothing was lost, and nothing came but from whom it should."""
        assert self._process.poll() is None
        self._turn += 1
        mark = b"turn %d" % self._turn
        self.device.send(publish(REQUEST, mark, number=self._turn % 60_000 + 1))
        while (letter := self.aggregator.letters(1)[0]).topic != REQUEST:
            assert letter.topic.startswith(f"fl/v1/{TENANT}/dev/{ATTACKER}/up/"), letter.topic
        assert letter.payload == mark
        self.aggregator.send(publish(COMMAND, mark, number=self._turn % 60_000 + 1))
        found = self.device.letters(1)[0]
        assert (found.topic, found.payload) == (COMMAND, mark)
        assert self.memory() - self.before < MOST_GROWTH

    def close(self) -> None:
        for one in (self.aggregator, self.device):
            one.vanish()
        self._process.terminate()
        assert self._process.wait(20) == 0


def siege(folder: Path, count: int, seed: int, told: Callable[[str], None]) -> dict[str, object]:
    """Send `count` damaged packets, before and after a login, each time until the broker has had enough."""
    rng = np.random.default_rng(seed)
    broker, sent = Besieged(folder), 0
    ended: Counter[str] = Counter()
    try:
        while sent < count:
            with RawClient(broker.port) as attacker:
                inside = bool(rng.integers(4))
                if inside:
                    code = attacker.login(ATTACKER, PASSWORDS[ATTACKER], clean=bool(rng.integers(2)))
                    assert code in (0, None)  # its last connection may still be on its way, and take over
                for _ in range(int(rng.integers(1, 12))):
                    sent += 1
                    try:
                        attacker.send(damaged(rng))
                    except ConnectionError:
                        ended["cut off"] += 1
                        break
                    while (found := attacker.next(0)) is not None:
                        topic = found[1][2:].decode("latin-1") if found[0] >> 4 == 3 else ""
                        assert not topic.startswith(COMMAND)
                    if sent % EVERY == 0:
                        broker.goes_on()
                        told(f"{sent} of {count}")
        broker.goes_on()
        refused = ask(broker.state)["refused"]
        log = (broker.state / "log").read_text()
        assert f"malformed: {ATTACKER} at 127.0.0.1 is cut off" in log
        assert "identity:" in log
        assert len(log) < 1_000_000
        assert "Traceback" not in log, log[log.index("Traceback") :][:2_000]
        grown = (broker.memory() - broker.before) >> 20
    finally:
        broker.close()
    return {"packets": sent, "refused": refused, "grown_mib": grown, "ended": dict(ended)}
