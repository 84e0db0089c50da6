"""An aggregator that edits, reorders, drops or inserts an entry is caught, and the entry is named."""

import random
from pathlib import Path

import pytest
from audited_state import Audited, entry
from hypothesis import given, settings
from hypothesis import strategies as st

from accord import merkle
from accord.signing import SigningKey
from accord.wire.envelope import seal
from accord.wire.messages import TAG_OF, Checkpoint
from aggregator.audit.record_file import RecordFile, frames

SIZE = 24


def tampered(leaves: list[bytes], how: str, at: int, other: int) -> list[bytes]:
    changed = list(leaves)
    match how:
        case "edit":
            changed[at] = entry(1_000).encode()
        case "drop":
            del changed[at]
        case "insert":
            changed.insert(at, entry(1_000).encode())
        case "double":
            changed.insert(at, changed[at])
        case "swap":
            changed[at], changed[other] = changed[other], changed[at]
        case "cut":
            changed = changed[:at]
    return changed


HOWS = ("edit", "drop", "insert", "double", "swap", "cut")


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("each", [1, 5])
def test_a_rewritten_log_does_not_hold(audited: Audited, how: str, each: int) -> None:
    audited.filled(SIZE, each)
    assert audited.report().finding is None
    leaves = audited.leaves()
    for at in range(SIZE):
        other = (at + 7) % SIZE
        changed = tampered(leaves, how, at, other)
        audited.rewrite(changed)  # with hashes that fit: the attacker knows the format
        finding = audited.report().finding
        if changed[:SIZE] == leaves:  # the last one doubled: an entry that is not signed yet
            assert finding is None
            continue
        first = next(i for i in range(SIZE) if changed[i : i + 1] != leaves[i : i + 1])
        assert finding is not None
        assert finding.entry is not None
        if each == 1:
            assert finding.entry == first
        else:
            assert finding.entry <= first < finding.entry + each
        assert f"{finding.entry}" in finding.problem


@given(st.sampled_from(HOWS), st.integers(0, SIZE - 1), st.integers(1, SIZE - 1), st.integers(1, SIZE))
@settings(max_examples=30, deadline=None)
def test_a_log_that_a_device_saw_can_not_be_signed_anew(
    tmp_path_factory: pytest.TempPathFactory, how: str, at: int, step: int, each: int
) -> None:
    """The aggregator has its key, so it rewrites the log and all checkpoints: what a device kept shows it."""
    audited = Audited(tmp_path_factory.mktemp("state"))
    kept = audited.filled(SIZE, each).checkpoint()
    leaves = audited.leaves()
    changed = tampered(leaves, how, at, (at + step) % SIZE)
    audited.close()
    for name in ("entries", "checkpoints"):
        (audited.state / "audit" / name).unlink()
    RecordFile(audited.entries_path).append(changed)
    audited.log().checkpoint()
    audited.close()
    assert audited.report().finding is None, "alone it looks right"
    assert (audited.report(kept=kept).finding is None) == (changed[:SIZE] == leaves)


def test_a_flipped_bit_is_found_and_its_entry_named(audited: Audited) -> None:
    audited.filled(SIZE, SIZE)
    audited.close()
    whole = audited.entries_path.read_bytes()
    ends = [0]
    ends += [frame.end for frame in frames(audited.entries_path)]
    for at in random.Random(5).sample(range(len(whole)), 200):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        audited.entries_path.write_bytes(damaged)
        finding = audited.report().finding
        assert finding is not None
        assert finding.entry == sum(end <= at for end in ends) - 1


def test_what_is_torn_or_not_signed_yet_is_no_lie(audited: Audited) -> None:
    log = audited.filled(SIZE, 5)
    log.append(entry(SIZE), entry(SIZE + 1))
    report = audited.report()
    assert (report.finding, report.entries, report.signed) == (None, SIZE + 2, SIZE)
    assert report.root == merkle.root([entry(n).encode() for n in range(SIZE + 2)])
    assert sum(report.kinds.values()) == SIZE + 2
    audited.close()
    whole = audited.entries_path.read_bytes()
    for tail in (whole + bytes(50), whole[:-1], whole + b"\x00\x00\x00\x05" + bytes(40)):
        audited.entries_path.write_bytes(tail)
        assert audited.report().finding is None


def test_checkpoints_are_the_aggregators_and_grow(audited: Audited) -> None:
    audited.filled(4, 2)
    audited.close()
    path: Path = audited.state / "audit" / "checkpoints"
    whole = path.read_bytes()
    root = merkle.root([entry(n).encode() for n in range(4)])

    def signed(size: int, head: bytes, tenant: str = "t", key: SigningKey = audited.fleet.aggregator) -> bytes:
        payload = Checkpoint(size=size, root=head).encode()
        return seal(TAG_OF[Checkpoint], payload, key=key, sender="aggregator", recipient=tenant).encode()

    stranger = SigningKey(b"x" * 32)
    for data, problem in [
        (signed(4, root, key=stranger), "is not signed by the aggregator"),
        (signed(4, root, tenant="u"), "of the log of u, not t"),
        (signed(2, root), "is of 2 entries, and the one before of 4"),
        (signed(4, bytes(32)), "is of 4 entries, and the one before of 4"),
        (signed(5, root), "entry 4 is missing"),
        (b"noise", "is no checkpoint"),
    ]:
        path.write_bytes(whole)
        RecordFile(path).append([data])
        finding = audited.report().finding
        assert finding is not None
        assert problem in finding.problem
        path.write_bytes(whole)
        if "before" not in problem:
            finding = audited.report(shown=data).finding
            assert finding is not None
            assert "shown" in finding.problem
    finding = audited.report(shown=signed(3, root)).finding
    assert finding is not None
    assert "entry 2 is not what was signed: shown of 3 entries has another root" in finding.problem
    finding = audited.report(shown=signed(0, root)).finding
    assert finding is not None
    assert "the empty log" in finding.problem
    damaged = bytearray(whole)
    damaged[50] ^= 1
    path.write_bytes(damaged)
    finding = audited.report().finding
    assert finding is not None
    assert "checkpoint 0 is damaged" in finding.problem


def test_an_entry_that_is_none_is_named(audited: Audited) -> None:
    audited.filled(4, 4)
    leaves = audited.leaves()
    for data in (b"", b"noise", leaves[0] + b"\x00", b"\x80"):
        audited.rewrite([*leaves[:2], data, *leaves[3:]])
        finding = audited.report().finding
        assert finding is not None
        assert finding.entry == 2
        assert "entry 2 is none" in finding.problem
