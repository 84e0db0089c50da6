"""A stranger, a revoked device and an enrolled one that poses as its neighbour each try all that they can think of.

Nothing is delivered to them that is not theirs, nothing of the others is lost, and the log names the attempt.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from accord.entropy import SystemEntropy
from accord.values import dataclass
from accord.wire import topics
from broker import credentials
from broker.config import Limits
from broker.credentials import Login
from broker.status import ask
from tests.broker.malformed import SEEDS, damaged
from tests.broker.raw_client import Letter, RawClient, connect, puback, publish, subscribe
from tests.broker.served import PASSWORDS, TENANT, Served, come, reads
from tests.broker.test_hostile import FILTERS, OF_OTHERS
from tests.waiting import until

VICTIM, ROUND = "dev-1", topics.job(TENANT, "j", "round")
COMMAND, REQUEST = topics.down(TENANT, VICTIM, "cmd"), topics.up(TENANT, VICTIM, "req")
OLD = "o" * 20
"""The password of the device that is revoked."""


@dataclass(frozen=True, kw_only=True)
class Attacker:
    """Who it is: the logins that it tries, each a client id, a user name and a password, and what the log says then."""

    logins: tuple[tuple[str, str, str | None], ...]
    said: str
    inside: tuple[str, str] | None = None


ATTACKERS = {
    "stranger": Attacker(
        logins=((VICTIM, VICTIM, "guessed"), (VICTIM, VICTIM, None), ("aggregator", "aggregator", "guessed")),
        said="secret: 127.0.0.1 as 'dev-1' is not known",
    ),
    "revoked": Attacker(
        logins=(("dev-3", "dev-3", OLD), (VICTIM, "dev-3", OLD), (VICTIM, VICTIM, OLD)),
        said="secret: 127.0.0.1 as 'dev-3' is not known",
    ),
    "neighbour": Attacker(
        logins=((VICTIM, "dev-2", PASSWORDS["dev-2"]), (VICTIM, VICTIM, PASSWORDS["dev-2"])),
        said="identity: 127.0.0.1 with a login of 'dev-2' poses as 'dev-1'",
        inside=("dev-2", PASSWORDS["dev-2"]),
    ),
}


class Scene:
    """A broker with an aggregator and a device that go on, and somebody who attacks them."""

    def __init__(self, broker: Served, attacker: Attacker) -> None:
        self.broker, self.attacker = broker, attacker
        logins = [Login(client="dev-3", secret=OLD)]
        credentials.add(broker.clients, logins, SystemEntropy(), now=0)
        with RawClient(broker.port) as once:
            assert once.login("dev-3", OLD) == 0
        credentials.remove(broker.clients, ["dev-3"])
        self.aggregator = come(broker, "aggregator", keepalive=300)
        self.aggregator.subscribe(topics.everything_up(TENANT)[0])
        self.aggregator.send(publish(ROUND, b"open", retain=True))
        reads(self.aggregator)
        self.victim = come(broker, VICTIM, clean=False, keepalive=300)
        self.victim.subscribe(COMMAND)
        self._turn = 0

    @contextmanager
    def connections(self) -> Iterator[list[RawClient]]:
        """One connection for each login that is tried, with either kind of session, and one for a login of its own."""
        found = []
        for client, user, password in self.attacker.logins:
            for clean in (False, True):
                found.append(RawClient(self.broker.port))
                found[-1].send(connect(client, password, username=user, clean=clean))
        if self.attacker.inside is not None:
            found.append(RawClient(self.broker.port))
            assert found[-1].login(*self.attacker.inside, keepalive=300) == 0
        yield found
        for one in found:
            one.vanish()

    def say(self, said: bytes) -> list[Letter]:
        """Say something over every connection, and return the letters that come back."""
        heard = []
        with self.connections() as found:
            for one in found:
                with suppress(OSError):
                    one.send(said)
            for one in found:
                heard += one.letters(10, 0.1, acknowledge=False)
        return heard

    def goes_on(self) -> None:
        """Letters go both ways, and those alone; what is retained is what it was."""
        self._turn += 1
        mark = b"turn %d" % self._turn
        self.victim.send(publish(REQUEST, mark, number=self._turn))
        own = topics.up(TENANT, "dev-2", "")
        while (found := self.aggregator.letters(1)[0]).topic.startswith(own):
            pass  # the neighbour may say what it likes under its own name
        assert (found.topic, found.payload) == (REQUEST, mark)
        self.aggregator.send(publish(COMMAND, mark, number=self._turn))
        assert [(one.topic, one.payload) for one in self.victim.letters(1)] == [(COMMAND, mark)]
        with RawClient(self.broker.port) as later:
            assert later.login("dev-2", PASSWORDS["dev-2"]) == 0
            later.send(subscribe(ROUND))
            assert [one.payload for one in later.letters(1)] == [b"open"]


def topics_of_others(scene: Scene) -> None:
    said = b"".join(
        publish(topic, payload, qos, retain=retain)
        for topic in OF_OTHERS
        for payload in (b"forged", b"")
        for qos, retain in ((0, False), (1, True))
    )
    assert scene.say(said + b"".join(subscribe(one) for one in FILTERS)) == []


def the_session(scene: Scene) -> None:
    assert scene.say(subscribe(COMMAND)) == []
    assert not scene.victim.ended(0.2), "it is connected as before"
    scene.victim.vanish()
    until(lambda: ask(scene.broker.state)["clients"] == 1, "the victim is away", 10)
    assert scene.say(b"") == []
    scene.victim = RawClient(scene.broker.port)
    scene.victim.send(connect(VICTIM, PASSWORDS[VICTIM], clean=False, keepalive=300))
    assert scene.victim.next() == (0x20, b"\1\0"), "its session was kept, and it still hears"


def what_is_kept(scene: Scene) -> None:
    scene.victim.vanish()
    until(lambda: ask(scene.broker.state)["clients"] == 1, "the victim is away", 10)
    for number in range(1, 4):
        scene.aggregator.send(publish(COMMAND, b"%d" % number, number=number))
    reads(scene.aggregator)
    wanted = [topics.roles(TENANT), "fl/v1/t/#", COMMAND]
    deletions = b"".join(publish(topic, b"", retain=True) for topic in (ROUND, *OF_OTHERS))
    assert scene.say(b"".join(subscribe(one) for one in wanted) + deletions) == []
    if scene.attacker.inside is None:
        assert scene.say(subscribe(ROUND, "fl/v1/t/bcast/#")) == []
    scene.victim = come(scene.broker, VICTIM, clean=False, keepalive=300)
    assert [one.payload for one in scene.victim.letters(3)] == [b"1", b"2", b"3"]


def replays(scene: Scene) -> None:
    scene.aggregator.send(publish(COMMAND, b"plan", number=9))
    (plan,) = scene.victim.letters(1, acknowledge=False)
    again = publish(COMMAND, b"plan", number=plan.number) + publish(REQUEST, b"turn 0") + puback(plan.number)
    for number in range(1, 20):
        again += puback(number)
    assert scene.say(again + subscribe(COMMAND)) == []
    scene.victim.vanish()
    scene.victim = come(scene.broker, VICTIM, clean=False, keepalive=300)
    found = scene.victim.letters(1)
    assert [(one.payload, one.duplicate) for one in found] == [(b"plan", True)], "nobody else acknowledged it"


def floods(scene: Scene) -> None:
    for _ in range(8):  # of connections that say something wrong, and of some that say nothing
        assert scene.say(publish(REQUEST, bytes(50_000)) * 3 + subscribe("#") * 200) == []
    idle = [RawClient(scene.broker.port) for _ in range(60)]
    if scene.attacker.inside is not None:  # nobody reads meanwhile
        flood = RawClient(scene.broker.port)
        assert flood.login(*scene.attacker.inside, keepalive=300) == 0
        flood._socket.settimeout(0.2)
        with suppress(OSError):
            flood.send(publish(topics.up(TENANT, "dev-2", "req"), bytes(50_000), qos=0) * 500)
        flood.vanish()
    assert ask(scene.broker.state)["waiting_bytes"] <= scene.broker.config.limits.waiting
    scene.goes_on()
    for one in idle:
        one.vanish()


def malformed(scene: Scene) -> None:
    rng = np.random.default_rng(11)
    refused = [connect(client, password, username=user) for client, user, password in scene.attacker.logins]
    seeds = [*(one for one in SEEDS if PASSWORDS["dev-2"].encode() not in one), *refused]
    for _ in range(8):
        heard = scene.say(b"".join(damaged(rng, seeds) for _ in range(6)))
        assert [one.topic for one in heard if one.topic != ROUND] == [], "but what is retained for everybody who is in"
    for _ in range(60):  # and before any login
        with RawClient(scene.broker.port) as stranger, suppress(OSError):
            stranger.send(damaged(rng, seeds))
            assert stranger.letter(0.01) is None
    assert ask(scene.broker.state)["refused"]["malformed"] > 10


@pytest.mark.parametrize("attack", [topics_of_others, the_session, what_is_kept, replays, floods, malformed])
@pytest.mark.parametrize("attacker", ATTACKERS)
def test_whoever_stands_on_the_same_broker_can_do_nothing(
    attacker: str,
    attack: Callable[[Scene], None],
    serve: Callable[..., Served],
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(serve(limits=Limits(waiting=1 << 20, strangers=20, at_once=10_000)), ATTACKERS[attacker])
    scene.goes_on()
    attack(scene)
    scene.goes_on()
    assert scene.victim.letter(0.1) is None, "nothing came twice, or that nobody sent"
    assert ATTACKERS[attacker].said in caplog.text, "the log names the attempt"
    assert len(caplog.records) < 200, "and a flood does not fill it"
