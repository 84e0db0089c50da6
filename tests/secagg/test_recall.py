"""A process that plays many devices checks a signature once and agrees once for both ends; no lie gets through."""

from pathlib import Path

import pytest

from accord.entropy import SeededEntropy
from accord.errors import Refusal, SignatureError
from accord.secagg import hybrid, keys
from accord.secagg import recall as module
from accord.secagg.recall import Recall
from accord.signing import SigningKey

SMALL_ORDER = bytes(32)


def test_a_signature_that_held_holds_again_and_no_other_does() -> None:
    recall, key, other = Recall(), SigningKey(b"k" * 32), SigningKey(b"o" * 32)
    signature = key.sign(b"join")
    for _ in range(2):
        recall.verify(key.public, b"join", signature, "JOIN")
        for public, data, changed in (
            (other.public, b"join", signature),
            (key.public, b"Join", signature),
            (key.public, b"join", signature[:-1] + bytes((signature[-1] ^ 1,))),
            (key.public, b"oin", signature + b"j"),
            (key.public + signature[:1], b"join", signature[1:]),
        ):
            with pytest.raises(SignatureError):
                recall.verify(public, data, changed, "JOIN")


@pytest.mark.parametrize("suite", ["x25519", "x25519+mlkem768"])
def test_both_ends_of_a_pair_come_to_what_each_comes_to_alone(suite: str) -> None:
    pytest.importorskip("cryptography")
    recall, source = Recall(), SeededEntropy(1)
    one, other, third = (hybrid.new_pair(source, suite) for _ in range(3))
    for _ in range(2):
        assert recall.shared(one, other.public) == recall.shared(other, one.public) == one.shared(other.public)
        assert recall.shared(one, third.public) == one.shared(third.public)


def test_a_weak_key_is_refused_every_time() -> None:
    recall, pair = Recall(), keys.new_pair(SeededEntropy(2))
    for _ in range(2):
        with pytest.raises(Refusal, match="WeakKey"):
            recall.shared(pair, SMALL_ORDER)


def test_it_shows_no_secret() -> None:
    recall, source = Recall(), SeededEntropy(3)
    one, other = keys.new_pair(source), keys.new_pair(source)
    secret = recall.shared(one, other.public)
    assert secret.hex() not in repr(recall)
    assert repr(secret) not in repr(recall)


def test_it_forgets_what_both_ends_have_and_holds_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGEST", 4)
    recall, source, signer = Recall(), SeededEntropy(4), SigningKey(b"s" * 32)
    one = keys.new_pair(source)
    for number in range(9):
        other, data = keys.new_pair(source), bytes([number])
        recall.shared(one, other.public)
        recall.verify(signer.public, data, signer.sign(data), "JOIN")
        assert 1 <= len(recall._agreed) <= 4
        assert 1 <= len(recall._held) <= 4
    before = len(recall._agreed)
    recall.shared(other, one.public)
    assert len(recall._agreed) == before - 1


def test_only_a_simulated_fleet_makes_one() -> None:
    """A real device's process holds no secret for another."""
    house = Path(module.__file__).parents[2]
    folders = ("accord", "edge_sdk", "aggregator", "broker", "tools")
    makers = [path for folder in folders for path in (house / folder).rglob("*.py") if "Recall()" in path.read_text()]
    assert [path.relative_to(house).as_posix() for path in makers] == ["tools/simulation/fleet.py"]
