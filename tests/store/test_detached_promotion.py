"""A promotion signed on a machine that can't reach the store: a request goes there, an answer comes back."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_model_cli import Desktop

from accord import cli
from accord.entropy import SeededEntropy
from accord.errors import Refusal
from accord.signing import SigningKey
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, opened
from accord.wire.versions import Promotion, Version
from aggregator.detached_promotion import PromotionRequest, signed
from aggregator.enrolment import new_fleet

NOW = 1_900_000_000


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Desktop]:
    found = Desktop(tmp_path, capsys)
    yield found
    found.store.close()


class Errand:
    """Carries files between the aggregator's machine and the publisher's."""

    def __init__(self, desk: Desktop, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.desk, self._capsys = desk, capsys
        self.request, self.answer = folder / "request", folder / "answer"

    def ask(self, version: str, *more: str) -> str:
        return self.desk.run("promote", version, "--request", str(self.request), "--root", self.desk.root, *more)

    def sign(self, *, code: int = 0, key: str = "") -> dict[str, object]:
        self._capsys.readouterr()
        words = ["sign", str(self.request), "--key", key or self.desk.publisher, "--root", self.desk.root]
        assert cli.main(["model", *words, "--out", str(self.answer), "--json"]) == code
        found: dict[str, object] = json.loads(self._capsys.readouterr().out)
        return found

    def take(self, code: int = 0) -> dict[str, object]:
        return self.desk.json("promote", "--answer", str(self.answer), code=code)


@pytest.fixture
def errand(desk: Desktop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Errand:
    return Errand(desk, tmp_path, capsys)


def test_a_request_is_signed_elsewhere_and_the_answer_promotes(errand: Errand, desk: Desktop) -> None:
    assert "accord model sign request" in errand.ask("2", "--stage", "staging")
    assert {v["stage"] for v in desk.json("list")["versions"]} == {"candidate"}, "nothing is promoted by asking"
    said = errand.sign()
    assert (said["job"], said["version"], said["stage"], said["number"]) == ("j", 2, "staging", 1)
    assert said["digest"] == desk.made[2].digest.hex()
    assert errand.take()["stage"] == "staging"
    assert desk.json("verify", "--root", desk.root)["faults"] == []


def test_an_answer_counts_once_and_not_after_another_promotion(errand: Errand, desk: Desktop) -> None:
    errand.ask("2")
    errand.sign()
    desk.run("promote", "3", "--publisher", desk.publisher)
    assert errand.take(code=1)["reason"] == "Overtaken"
    errand.ask("2")
    errand.sign()
    assert errand.take()["stage"] == "production"
    assert errand.take(code=1)["error"]
    assert [v["stage"] for v in desk.json("list")["versions"]] == ["candidate", "candidate", "production", "archived"]


def test_another_key_signs_nothing(errand: Errand, desk: Desktop) -> None:
    errand.ask("3")
    aggregator = str(desk.fleet / "keys" / "aggregator")
    assert errand.sign(code=1, key=aggregator)["reason"] == "NotThePublisher"
    assert not errand.answer.exists()
    request = PromotionRequest.decode(errand.request.read_bytes())
    thief = SigningKey(Path(aggregator).read_bytes())
    forged = seal(TAG_OF[Promotion], request.statement, key=thief, sender="publisher", recipient="j")
    errand.answer.write_bytes(forged.encode())
    assert errand.take(code=1)["reason"] == "NotThePublisher"


def lies(desk: Desktop, honest: PromotionRequest) -> dict[str, Callable[[], bytes]]:
    """Return a file for each rule that it breaks; the aggregator's key may be in the liar's hands."""
    statement = Promotion.decode(honest.statement)
    aggregator = SigningKey((desk.fleet / "keys" / "aggregator").read_bytes())
    other = new_fleet("t", SeededEntropy(9), NOW + 10**8)
    version = opened(Envelope.decode(honest.version), Version)

    def changed(**fields: bytes) -> bytes:
        return dataclasses.replace(honest, **fields).encode()

    def about(**fields: object) -> bytes:
        return changed(statement=dataclasses.replace(statement, **fields).encode())  # type: ignore[arg-type]

    def made_by(key: SigningKey) -> bytes:
        letter = seal(TAG_OF[Version], version.encode(), key=key, sender="aggregator", recipient="j")
        return changed(version=letter.encode())

    return {
        "noise": lambda: b"noise",
        "another version's digest": lambda: about(digest=bytes(32)),
        "another version's number": lambda: about(version=1),
        "another job": lambda: about(job="k"),
        "another tenant": lambda: about(tenant="other"),
        "a roles document that is not there": lambda: about(roles_version=7),
        "a version that a stranger made": lambda: made_by(other.aggregator),
        "roles of another root": lambda: changed(roles=other.roles()),
        "a signer of another root": lambda: changed(signer=other.roles()),
        "no letter": lambda: changed(version=b"noise"),
        "honest, made again": lambda: made_by(aggregator),
    }


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ("noise", "BadMessage"),
        ("no letter", "BadMessage"),
        ("another version's digest", "ForeignVersion"),
        ("another version's number", "ForeignVersion"),
        ("another job", "ForeignVersion"),
        ("another tenant", "ForeignTenant"),
        ("a roles document that is not there", "ForeignRoles"),
        ("a version that a stranger made", "ForeignVersion"),
        ("roles of another root", "NotTheRoot"),
        ("a signer of another root", "NotTheRoot"),
        ("honest, made again", ""),
    ],
)
def test_what_a_publisher_refuses_to_sign(errand: Errand, desk: Desktop, lie: str, reason: str) -> None:
    errand.ask("2")
    data = lies(desk, PromotionRequest.decode(errand.request.read_bytes()))[lie]()
    key, root = SigningKey(Path(desk.publisher).read_bytes()), bytes.fromhex(Path(desk.root).read_text())
    if not reason:
        promotion, _ = signed(data, key, root, NOW)
        assert promotion.version == 2
        return
    with pytest.raises(Refusal) as caught:
        signed(data, key, root, NOW)
    assert caught.value.reason == reason
    with pytest.raises(Refusal, match="Expired"):
        signed(errand.request.read_bytes(), key, root, 4_000_000_001)


@pytest.mark.parametrize(
    "words", [("promote",), ("promote", "2"), ("promote", "2", "--answer", "x"), ("promote", "--request", "x")]
)
def test_a_person_is_told_what_to_give(desk: Desktop, words: tuple[str, ...]) -> None:
    assert "give VERSION with --publisher" in desk.run(*words, code=1)


def test_an_answer_that_is_none_is_named(errand: Errand) -> None:
    errand.answer.write_bytes(b"noise")
    assert errand.take(code=1)["reason"] == "BadMessage"
