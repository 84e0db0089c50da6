"""What the next round asks for: supports follow the sums, random ones can be drawn again, restarts change nothing."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from accord.errors import CodecError, UsageError
from accord.prg import digest
from accord.tensors import Layout, Vector
from accord.update import subspace
from accord.update.block_support import Blocks
from accord.wire.messages import LARGEST_SUPPORT
from aggregator.scales import Scales
from aggregator.supports import RANDOM, WARM_UP, Supports
from aggregator.update_choice import UpdateChoice

LARGE = Layout((("w", (64, 256)), ("b", (256,)), ("v", (256, 128))))
BLOCKS = LARGE.size // 64
MODEL = digest(b"model")
NOTHING = np.zeros(0, np.float32)


def supports(text: str, layout: Layout = LARGE) -> Supports:
    return Supports(UpdateChoice.parse(text), layout, [0] * len(layout.tensors))


def closed(one: Supports, mean: Callable[[int], Vector], scores: Vector = NOTHING, included: int = 25) -> None:
    asked = one.next(MODEL)
    one.took(asked, mean(sum(one.coordinates(asked).spans)), scores, included=included, devices=100)


def some(size: int) -> Vector:
    return np.random.default_rng(size).normal(size=size).astype(np.float32)


def warmed_up() -> Supports:
    one = supports("block-score:0.1:4")
    for _ in range(WARM_UP):
        assert one.next(MODEL).update.kind == "dense"
        closed(one, some)
    return one


def test_blocks_of_the_highest_scores_and_a_fifth_at_random() -> None:
    one = warmed_up()
    scores = np.arange(BLOCKS, dtype=np.float32)[::-1].copy()
    closed(one, some, scores)
    asked = one.next(MODEL)
    named = np.flatnonzero(np.unpackbits(np.frombuffer(asked.support, np.uint8), bitorder="little"))
    wanted = BLOCKS // 10
    best = wanted - round(RANDOM * wanted)
    assert named.size == wanted
    assert set(range(best)) <= set(named)
    others = set(supported(one, digest(b"another model")))
    assert set(range(best)) <= others
    assert others != set(named), "the rest follows from the model"
    assert supported(one, MODEL) == sorted(named), "and from nothing else"


def supported(one: Supports, params: bytes) -> list[int]:
    bits = np.unpackbits(np.frombuffer(one.next(params).support, np.uint8), bitorder="little")
    return [int(at) for at in np.flatnonzero(bits)]


def test_scores_stay_within_their_bits() -> None:
    one = warmed_up()
    for size in (1.0, 1000.0, 0.001):
        closed(one, some, np.full(BLOCKS, size * 25, np.float32))
        step = 2.0 ** one.next(MODEL).update.score_exponent
        assert size / step < 16, "4 bits hold the mean"
        assert size / step >= 2, "and it is not rounded away"


def test_bases_take_sides_in_turns_and_span_what_was_sent() -> None:
    one = supports("low-rank:4:4")
    first = subspace.Subspace(LARGE, 4, one.next(MODEL).support)
    assert [held and held.side for held in first.bases] == [0, None, 0]
    assert one.next(MODEL).support != one.next(digest(b"another model")).support
    closed(one, some)
    second = subspace.Subspace(LARGE, 4, one.next(MODEL).support)
    assert [held and held.side for held in second.bases] == [1, None, 1]
    sent = some(sum(first.spans))[: 64 * 4].reshape(64, 4)
    held = second.bases[0]
    assert held is not None
    assert np.allclose(held.vectors @ (held.vectors.T @ sent), sent, atol=0.05)


@pytest.mark.parametrize("text", ["dense:8", "low-rank:8:4", "block-score:0.1:8"])
def test_a_restart_changes_nothing(text: str) -> None:
    one, again = supports(text), supports(text)
    for _ in range(WARM_UP + 1):
        scores = some(BLOCKS) ** 2 if one.next(MODEL).update.kind == "block-score" else NOTHING
        closed(one, some, scores, included=1)
    again.restore(one.state())
    assert again.next(MODEL) == one.next(MODEL)
    assert again.state() == one.state()


def test_a_state_of_another_model_is_refused() -> None:
    other = supports("block-score:0.1:4", Layout((("w", (64, 64)),)))
    with pytest.raises(CodecError, match="another model"):
        other.restore(warmed_up().state())


def test_a_model_without_large_matrices_is_sent_whole_in_more_bits() -> None:
    small = Layout((("w", (6, 8)), ("b", (8,))))
    asked = supports("low-rank:8:4", small).next(MODEL)
    assert (asked.update.kind, asked.bits, asked.support) == ("dense", 16, b"")
    wide = supports("low-rank:8:4", Layout((("b", (50_000,)),))).next(MODEL)
    assert (wide.update.kind, wide.bits) == ("dense", 8)


@pytest.mark.parametrize("shape", [(1000, 16), (16, 1000)])
def test_a_side_that_does_not_pay_is_made_up_for_by_the_other(shape: tuple[int, int]) -> None:
    """Of the long side 80 % of the parameters are sent, and of the short one 60 %, in turns, for good."""
    one = supports("low-rank:8:4", Layout((("w", shape), ("b", (24_000,)))))
    sent = []
    for _ in range(4):
        asked = one.next(MODEL)
        assert asked.update.kind == "low-rank"
        sent.append(one.sent(asked))
        closed(one, some)
    assert sorted(sent) == [24_128, 24_128, 32_000, 32_000]
    assert sent[:2] == sent[2:]


def test_a_model_that_bases_make_hardly_smaller_is_sent_whole_in_every_round() -> None:
    one = supports("low-rank:8:4", Layout((("w", (1000, 16)), ("b", (32_000,)))))
    for _ in range(4):
        assert one.next(MODEL).update.kind == "dense"
        closed(one, some)


def test_a_model_of_more_blocks_than_scores_are_kept_of_is_refused_before_its_first_round() -> None:
    most = Layout((("w", (1 << 26,)),))
    assert supports("block-score:0.1:4", most).next(MODEL).update.kind == "dense"
    with pytest.raises(UsageError, match="use low-rank"):
        supports("block-score:0.1:4", Layout((("w", ((1 << 26) + 1,)),)))


def test_bases_that_an_offer_has_no_room_for_are_of_a_lower_rank() -> None:
    huge = Layout(tuple((f"w{at}", (3_000, 3_000)) for at in range(20)))
    asked = supports("low-rank:16:4", huge).next(MODEL)
    assert 1 <= asked.update.rank < 16
    assert LARGEST_SUPPORT * 0.8 < len(asked.support) <= LARGEST_SUPPORT
    assert subspace.fitting(huge, 16, 1_000) == 0


@pytest.mark.parametrize(("feedback", "kept"), [("auto", 0), ("on", 10), ("off", 0)])
@pytest.mark.parametrize("text", ["low-rank:8:4", "block-score:0.1:8", "topk:0.01:8"])
def test_who_asks_for_feedback_gets_it_however_seldom_devices_take_part(text: str, feedback: str, kept: int) -> None:
    one = Supports(UpdateChoice.parse(text, feedback), LARGE, [0] * 3)
    for _ in range(WARM_UP + 1):
        asked = one.next(MODEL)
        size = LARGE.size if asked.update.open else sum(one.coordinates(asked).spans)
        one.took(asked, some(size), np.zeros(BLOCKS, np.float32), included=3, devices=1_000)
    assert one.next(MODEL).update.feedback == kept


@pytest.mark.parametrize(("text", "feedback"), [("dense:16", "on"), ("low-rank:8:4", "sometimes")])
def test_feedback_that_can_not_be(text: str, feedback: str) -> None:
    with pytest.raises(UsageError, match="feedback"):
        UpdateChoice.parse(text, feedback)


def test_devices_that_take_part_seldom_keep_nothing() -> None:
    one = supports("low-rank:4:4")
    assert one.next(MODEL).update.feedback
    for _ in range(3):
        closed(one, some, included=1)
    assert one.next(MODEL).update.feedback == 0, "one in a hundred"
    closed(one, some, included=50)
    assert one.next(MODEL).update.feedback


def test_an_update_that_feeds_back_names_the_line_of_the_model() -> None:
    for text in ("low-rank:4:4", "topk:0.1:8"):
        assert supports(text).next(MODEL, 7).update.line == 7
    blocks = warmed_up()
    assert blocks.next(MODEL, 7).update.line == 7
    assert supports("block-score:0.1:4").next(MODEL, 7).update.line == 0, "a dense round leaves nothing out"
    for _ in range(300):
        closed(blocks, some, np.ones(BLOCKS, np.float32), included=0)
    assert blocks.next(MODEL, 7).update.line == 0


def test_narrow_scales_follow_the_mean_square_and_what_was_cut() -> None:
    scales = Scales((0, 0))
    mean = np.concatenate([np.full(4, 2.0**-6), np.zeros(4)]).astype(np.float32)
    for _ in range(3):
        assert not scales.follow(4, mean, (4, 4), 0.005)
    assert scales.exponents == (-3, 0), "8 times the root mean square; where nothing moved it stays"
    assert scales.follow(4, mean, (4, 4), 0.02)
    assert scales.exponents == (-2, 0)
    for _ in range(20):
        scales.follow(4, mean, (4, 4), 0.0)
    assert scales.exponents == (-8, 0), "it ends at a quarter: there, much is cut"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dense", "is not dense:BITS: write numbers, such as dense:16"),
        ("top:0.01:8", "is unknown: use dense:BITS, .* such as dense:16"),
        ("", "is unknown"),
        ("float32", "is unknown"),
        ("topk:0.01:7", "8, 4 or 1, such as topk:0.01:8"),
        ("topk:0:8", "use 0.000001 to 1, such as topk:0.01:8"),
        ("topk:1e-9:8", "use 0.000001 to 1"),
        ("block-score:10%:8", "write numbers, such as block-score:0.1:8"),
        ("topk:0.01:8:lzma", "with :zlib or :zstd behind it or nothing"),
        ("ternary:0.01:1", "is not ternary:SHARE, with :zlib"),
        ("ternary:2", "0.000001 to 1, such as ternary:0.01"),
        ("dense:8:zlib", "is not dense:BITS"),
        ("dense:17", "2 to 16, such as dense:16"),
        ("dense:7.5", "7.5 bits"),
        ("block-score:0:8", "0.000001 to 1"),
        ("block-score:nan:8", "write numbers"),
        ("low-rank:0:4", "use 1 to 256, such as low-rank:8:4"),
        ("low-rank:2.5:4", "rank"),
        ("low-rank:x:4", "write numbers, such as low-rank:8:4"),
    ],
)
def test_a_choice_that_is_none_says_how_one_is_written(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        UpdateChoice.parse(text)


def test_choices() -> None:
    topk = UpdateChoice(kind="topk", bits=8, share=10_000, compression="zlib")
    assert UpdateChoice.parse("topk:0.01:8") == topk
    assert UpdateChoice.parse("topk:0.01:8:zstd") == dataclasses.replace(topk, compression="zstd")
    assert UpdateChoice.parse("ternary:0.01") == dataclasses.replace(topk, kind="ternary", bits=1)
    assert UpdateChoice.parse("dense:16") == UpdateChoice(kind="dense", bits=16)
    assert UpdateChoice.parse("block-score:0.1:8") == UpdateChoice(kind="block-score", bits=8, share=100_000)
    assert UpdateChoice.parse("low-rank:8:4") == UpdateChoice(kind="low-rank", bits=4, rank=8)
    one = warmed_up().next(MODEL)
    assert Blocks(LARGE, one.update.block, one.update.share, one.support).spans
    assert dataclasses.replace(one, bits=8) != one
