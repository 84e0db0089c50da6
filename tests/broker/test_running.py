"""A broker that runs: clients come into its file and go out of it, and it says what it does."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from accord.cli import main
from accord.entropy import SystemEntropy
from accord.errors import UsageError
from accord.files import FileError, write_atomic
from accord.wire import topics
from broker import credentials
from broker.attempts import AT_ONCE, Attempts
from broker.credentials import Login
from broker.status import ask
from tests.broker.raw_client import RawClient, connect, publish
from tests.broker.served import PASSWORDS, TENANT, Served, come, reads
from tests.waiting import until

COMMAND = topics.down(TENANT, "dev-1", "cmd")
ROUND = topics.job(TENANT, "j", "round")
Serve = Callable[..., Served]


def test_who_is_revoked_is_cut_off_and_forgotten(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    broker = serve()
    aggregator, device, other = come(broker, "aggregator"), come(broker, "dev-1", clean=False), come(broker, "dev-2")
    device.subscribe(COMMAND)
    aggregator.send(publish(COMMAND, b"unacknowledged"))
    assert device.letters(1, acknowledge=False)
    assert main(["broker", "remove", "--state", str(broker.state), "--client", "dev-1"]) == 0
    assert device.ended()
    assert "revoked: dev-1 may be logged in no more" in caplog.text
    with RawClient(broker.port) as again:
        assert again.login("dev-1", PASSWORDS["dev-1"]) == 4
    until(lambda: ask(broker.state)["sessions"] == 2, "its session is forgotten")
    assert ask(broker.state)["waiting_bytes"] == 0
    reads(other)
    credentials.add(broker.clients, [Login(client="dev-1", secret="new" * 8)], SystemEntropy(), now=0)
    with RawClient(broker.port) as back:
        back.send(connect("dev-1", "new" * 8, clean=False))
        assert back.next() == (0x20, b"\0\0")
        assert back.letter(0.3) is None
        assert main(["broker", "remove", "--state", str(broker.state), "--client", "dev-1"]) == 0
        assert back.ended()
    until(lambda: ask(broker.state)["sessions"] == 2, "its session is forgotten once more")


def test_a_changed_password_cuts_and_the_same_one_again_does_not(serve: Serve) -> None:
    broker = serve()
    one, two = come(broker, "dev-1"), come(broker, "dev-2")
    logins = [Login(client="dev-1", secret=PASSWORDS["dev-1"]), Login(client="dev-2", secret="another" * 3)]
    credentials.add(broker.clients, logins, SystemEntropy(), now=0)
    assert two.ended()
    reads(one)


def test_a_token_stands_beside_a_password_until_it_is_over(serve: Serve, tmp_path: Path) -> None:
    broker = serve()
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text("t" * 43)
    words = ["broker", "add", "--state", str(broker.state), "--client", "dev-1", "--password", str(token)]
    assert main([*words, "--days", "1e-5"]) == 0  # 0.86 s
    with RawClient(broker.port) as client:
        assert client.login("dev-1", "t" * 43) in (0, 4)  # on a slow machine it is over by now
        assert client.ended()
    with RawClient(broker.port) as client:
        assert client.login("dev-1", "t" * 43) == 4
    assert come(broker, "dev-1")


def test_the_session_of_a_token_that_is_over_is_forgotten(serve: Serve) -> None:
    broker, expires = serve(), int(time.time()) + 1_000
    logins = [Login(client=name, secret="t" * 32, expires=expires) for name in ("dev-3", "dev-4")]
    credentials.add(broker.clients, [*logins, Login(client="dev-4", secret="p" * 32)], SystemEntropy(), now=0)
    aggregator = come(broker, "aggregator")
    for name in ("dev-3", "dev-4"):
        command = topics.down(TENANT, name, "cmd")
        with RawClient(broker.port) as device:
            assert device.login(name, "t" * 32, clean=False) == 0
            device.subscribe(command)
        aggregator.send(publish(command, b"waits"))
    reads(aggregator)
    assert {"dev-3", "dev-4"} <= set(ask(broker.state)["waiting"])
    write_atomic(broker.clients, broker.clients.read_bytes().replace(b"%d" % expires, b"%d" % time.time()))
    until(lambda: "dev-3" not in ask(broker.state)["waiting"], "its queue is forgotten")
    until(lambda: ask(broker.state)["sessions"] == 2, "and its session")
    with RawClient(broker.port) as device:  # who has a password beside its token has a session as before
        assert device.login("dev-4", "p" * 32, clean=False) == 0
        assert [one.payload for one in device.letters(1)] == [b"waits"]


def test_tokens_do_not_pile_up(tmp_path: Path) -> None:
    path, entropy = tmp_path / "clients", SystemEntropy()
    credentials.add(path, [Login(client="dev-1", secret="password"), Login(client="dev-1")], entropy, now=0)
    for number in range(6):
        credentials.add(path, [Login(client="dev-1", secret=f"token {number}", expires=100 + number)], entropy, now=0)
    known = credentials.read(path)
    assert [bool(known.check("dev-1", f"token {n}".encode(), 0)) for n in range(6)] == [False] * 2 + [True] * 4
    assert known.check("dev-1", b"token 4", 104) is None
    assert known.check("dev-1", b"password", 1e9) is not None
    assert known.certified("dev-1", 1e9) is not None
    credentials.add(path, [Login(client="dev-1", secret="changed")], entropy, now=1e9)
    assert len(path.read_text().splitlines()) == 2
    assert "changed" not in repr(Login(client="dev-1", secret="changed"))
    assert not any(part in repr(known) + repr(vars(known)) for part in path.read_text().split() if len(part) > 30)


def test_the_file_of_clients_may_be_damaged_while_the_broker_runs(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    broker = serve()
    device = come(broker, "dev-1")
    broker.clients.write_text("what is this\n")
    until(lambda: "the clients stay as they were" in caplog.text, "the log says so")
    reads(device)
    assert come(broker, "dev-2")


def test_the_status_is_for_its_owner_and_says_what_is_there(
    serve: Serve, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broker = serve()
    aggregator, device = come(broker, "aggregator"), come(broker, "dev-1")
    device.subscribe(ROUND)
    aggregator.send(publish(ROUND, b"open", retain=True))
    assert device.letters(1)
    assert (broker.state / "broker.sock").stat().st_mode & 0o777 == 0o600
    assert main(["broker", "status", "--state", str(broker.state), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["listeners"] == [{"scheme": "mqtt", "host": "127.0.0.1", "port": broker.port}]
    assert (found["clients"], found["letters_in"], found["letters_out"], found["retained"]) == (2, 1, 1, 1)
    assert found["bytes_in"] == len(ROUND) + 4
    assert main(["broker", "status", "--state", str(broker.state)]) == 0
    assert "2 clients" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no broker runs on"):
        ask(tmp_path)


def test_two_brokers_do_not_share_a_folder(serve: Serve) -> None:
    serve()
    with pytest.raises(FileError, match="in use by another process"):
        serve()


def test_a_flood_of_refusals_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    time_now = [0.0]
    attempts = Attempts(lambda: time_now[0])
    with caplog.at_level(logging.WARNING):
        for number in range(10_000):
            attempts.note("secret", "%s tries", number)
        assert len(caplog.records) == AT_ONCE
        attempts.note("publish", "another reason has lines of its own")
        assert len(caplog.records) == AT_ONCE + 1
        time_now[0] = 1.0
        attempts.note("secret", "%s tries", "the last")
    assert caplog.records[-1].getMessage() == "secret: the last tries (9980 more like it since the last line)"
    assert attempts.counts["secret"] == 10_001
