"""Golden files: the code makes them byte for byte, with either keystream, and reads every one of them back."""

import hashlib
import json
from pathlib import Path
from typing import Any

import generate
import numpy as np
import pytest
import second_opinion
from golden_letters import plain
from recorded_fleet import LAYOUT, NAMES, reached, say, unfolded

from accord import prg
from accord.entropy import SeededEntropy
from accord.plan import Fixed, Plan, Task, Training
from accord.secagg import keys, ring, shamir
from accord.signing import SigningKey
from accord.update import fixedpoint, packing, snapshot
from accord.update.pipeline import Contribution, Form
from accord.wire import chunks
from accord.wire.envelope import Envelope
from accord.wire.messages import TAGS, Certificate, Roles, opened
from accord.wire.secure_sum import Member

HEX = bytes.fromhex


def vectors(name: str) -> Any:
    return json.loads((generate.FOLDER / f"{name}.json").read_text())["vectors"]


def test_the_code_makes_every_file_byte_for_byte() -> None:
    assert not generate.differing(), (
        "the wire has changed: run `python tests/vectors/generate.py --write` if you mean it"
    )


@pytest.mark.parametrize("backend", [prg.keystream_pynacl, prg.keystream_cryptography])
def test_both_keystreams_make_every_file(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    def counted(key: bytes, nonce: bytes, size: int) -> bytes:
        used.append(size)
        stream: bytes = backend(key, nonce, size)
        return stream

    for module in (ring, fixedpoint):
        monkeypatch.setattr(module, "keystream", counted)
    assert not generate.differing()
    assert used, "no file was made with this keystream"


def test_a_file_that_is_stale_missing_or_too_many_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    for name, text in generate.files().items():
        (tmp_path / name).write_text(text)
    assert generate.differing() == []
    (tmp_path / "keys.json").write_text("{}")
    (tmp_path / "masks.json").unlink()
    (tmp_path / "other.json").write_text("{}")
    assert generate.differing() == ["keys.json", "masks.json", "other.json"]
    monkeypatch.setattr("sys.argv", ["generate.py", "--check"])
    assert generate.main() == 1
    monkeypatch.setattr("sys.argv", ["generate.py", "--write"])
    assert generate.main() == 0
    assert generate.differing() == []


def test_every_message_is_read_and_written_again() -> None:
    found = vectors("messages")
    assert {case["tag"] for case in found["letters"]} == set(TAGS)
    for case in found["letters"]:
        letter = Envelope.decode(HEX(case["letter"]))
        assert letter.encode().hex() == case["letter"]
        assert (letter.tag, letter.sender, letter.recipient) == (case["tag"], found["sender"], found["recipient"])
        assert (letter.context.hex(), letter.signature.hex()) == (case["context"], case["signature"])
        letter.check(HEX(found["public"]))
        body = opened(letter, TAGS[letter.tag])
        assert plain(body) == case["fields"]
        assert body.encode() == letter.payload == HEX(case["payload"])


def test_the_plan_and_its_parts_are_read_and_written_again() -> None:
    found = vectors("plan")
    asked = Plan.decode(HEX(found["plan"]))
    assert plain(asked) == found["fields"]
    assert asked.encode().hex() == found["plan"]
    for part in (Training, Fixed, Task):
        assert part.decode(HEX(found["parts"][part.__name__])) in (asked.training, asked.fixed, asked.task)
    for member in found["members"]:
        assert Member.decode(HEX(member)).encode().hex() == member


@pytest.mark.parametrize("name", ["cohort", "cohort_strict", "cohort_off"])
def test_each_party_alone_says_again_what_was_recorded(name: str) -> None:
    found = vectors(name)
    entries = unfolded(found["entries"])
    for party in ("aggregator", *NAMES):
        again = reached(party, [])
        if party == "aggregator":
            again = reached(party, [], profile=name.partition("_")[2] or "standard")
        said = []
        for entry in entries:
            if entry.get("to", "aggregator") == party:
                letters, refused = say(again, entry)
                assert not refused
                said += letters
        recorded = [HEX(entry["data"]) for entry in entries if entry.get("from") == party]
        silent = party == "dev-03" and name != "cohort_off"
        assert (said[:-1] if silent else said) == recorded
        assert len(recorded) == 3 if silent else recorded


def test_the_opened_sum_is_that_of_the_survivors() -> None:
    found = vectors("cohort")
    survivors = [np.array(found["plain_vectors"][name], np.uint32) for name in found["included"]]
    assert found["included"] == ["dev-00", "dev-01", "dev-02"]
    assert (ring.reduced(np.sum(survivors, axis=0, dtype=np.uint32), 20)).tolist() == found["opened_sum"]
    for name, device in found["devices"].items():
        letter = Envelope.decode(HEX(device["certificate"]))
        letter.check(HEX(found["enrolment"]))
        certificate = opened(letter, Certificate)
        assert (certificate.device, certificate.identity) == (name, SigningKey(HEX(device["identity"])).public)
    roles = Envelope.decode(HEX(found["roles"]))
    roles.check(HEX(found["root"]))
    assert opened(roles, Roles).aggregator == HEX(found["aggregator"]["public"])


def test_pieces_are_read_and_written_again() -> None:
    found = vectors("pieces")
    wanted, last = chunks.Manifest.decode(HEX(found["manifest"])), chunks.Piece.decode(HEX(found["piece"]))
    assert (wanted.encode().hex(), last.encode().hex()) == (found["manifest"], found["piece"])
    data = SeededEntropy(1).child("object")(60_005)
    assembler = chunks.Assembler(wanted, len(data))
    assert assembler.add(chunks.piece(data, wanted.object, 0)) is None
    assert assembler.have.hex() == found["have_after_the_first"]
    assert assembler.add(last) == data


def test_keys_and_seals_hold_from_the_other_end() -> None:
    found = vectors("keys")
    one, other = (keys.KeyPair(HEX(found[name]["secret"])) for name in ("a", "b"))
    assert (one.public.hex(), other.public.hex()) == (found["a"]["public"], found["b"]["public"])
    context = HEX(found["context"])
    assert len({case["key"] for case in found["directions"]}) == len(found["directions"]) == 6
    for case in found["directions"]:
        key = keys.direction_key(
            other, one.public, label=case["label"], context=context, sender=case["from"], recipient=case["to"]
        )
        assert key.hex() == case["key"]
    assert keys.pair_seed(other, one.public, context=context, one="b", other="a").hex() == found["pair_seed"]
    seals = vectors("seals")
    for case in seals["sealed"]:
        assert keys.unlock(HEX(case["key"]), HEX(case["sealed"]), "a share").hex() == seals["share"]
        assert case["key"] in {direction["key"] for direction in found["directions"]}


def test_a_rosters_graph_is_drawn_again_from_the_page() -> None:
    for case in vectors("graphs"):
        seed = hashlib.blake2b(b"graph" + HEX(case["root"]), digest_size=32).digest()
        stream, members = second_opinion.keystream(seed, 16 * case["members"]), range(case["members"])
        ring = sorted(members, key=lambda position: stream[16 * position : 16 * position + 16])
        for position, holders in case["holders"].items():
            at, half = ring.index(int(position)), case["k"] // 2
            assert sorted(ring[(at + step) % len(ring)] for step in range(-half, half + 1)) == holders
        assert case["k"] // 2 < case["t"] <= case["k"]


def test_masks_come_off_and_shares_open() -> None:
    found = vectors("masks")
    assert {8, 12, 16, 20, 24, 32} < {case["bits"] for case in found["widths"]}
    for case in found["widths"]:
        bits, length = case["bits"], len(found["vector"])
        vector = packing.unpack(HEX(case["packed"]), length, bits)
        assert vector.tolist() == case["masked"]
        ring.add_masks(vector, [(HEX(found["seed"]), True)], bits)
        ring.add_masks(vector, [(HEX(found["minus_seed"]), False)], bits)
        assert ring.reduced(vector, bits).tolist() == [value % 2**bits for value in found["vector"]]
    for case in vectors("shares"):
        for opening in case["openings"]:
            dealt = [HEX(case["shares"][at]) for at in opening["holders"]]
            secret = shamir.combine_all([opening["holders"]], dealt)[0].hex()
            assert secret == opening["secret"] == case["secret"]


def test_numbers_are_read_and_written_again() -> None:
    for case in vectors("packing"):
        values = packing.unpack(HEX(case["packed"]), len(case["values"]), case["bits"])
        assert values.tolist() == case["values"]
        assert packing.pack(values, case["bits"]).hex() == case["packed"]
    found = vectors("snapshot")
    model = snapshot.decode(HEX(found["object"]), LAYOUT, columns=2)
    assert model.encode().hex() == found["object"]
    assert model.params.tobytes().hex() == found["params"]
    rounded = vectors("rounding")
    for case in rounded["cases"]:
        fixed = Fixed.decode(HEX(case["fixed"]))
        assert fixed.encode().hex() == case["fixed"]
        assert list(fixedpoint.weight(case["rows"], fixed.largest_weight)) == case["weight"]
        top = fixedpoint.top_value(fixed)
        values = np.array(case["values"], np.uint32).view(np.int32)
        assert np.abs(values).max() <= top
        exact = np.frombuffer(HEX(case["delta"]), "<f4") * fixedpoint.limits(LAYOUT.sizes, fixed)
        exact *= case["weight"][0] / case["weight"][1]
        inside = np.abs(exact) <= top
        assert (np.abs(values - exact) < 1)[inside].all()
        assert np.count_nonzero(~inside) == case["saturated"]
    assert [case["values"] for case in rounded["cases"][-2:]] == [[1] * 5, [0] * 5]


def test_whole_vectors_are_read() -> None:
    found = vectors("pipeline")
    assert {Plan.decode(HEX(case["plan"])).purpose for case in found["cases"]} == {
        "train",
        "evaluate",
        "powers",
        "moments",
    }
    for case in found["cases"]:
        asked = Plan.decode(HEX(case["plan"]))
        form = Form(asked, LAYOUT)
        delta = None if case["delta"] is None else np.frombuffer(HEX(case["delta"]), "<f4")
        contribution = Contribution(rows=case["rows"], delta=delta, figures=case["figures"])
        vector = form.encode(contribution, HEX(found["seed"]))
        assert vector.tolist() == case["vector"]
        if case["rows"]:
            total = form.decode(vector)
            for name, values in case["figures"].items():
                largest = 2.0**28 if name == "loss" else 2.0**32
                assert np.allclose(total.figures[name], np.minimum(values, largest), rtol=1e-6), name
