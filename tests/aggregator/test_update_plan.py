"""`accord plan update`: its bytes are those of vectors that are really encoded, and tell the ways apart."""

import json
from pathlib import Path

import numpy as np
import pytest

from accord.cli import main
from accord.errors import UsageError
from accord.plan import modulus_bits
from accord.tensors import Layout
from aggregator.update_choice import DEFAULT
from aggregator.update_plan import OPEN_WAYS, WAYS, Link, UpdatePlan, bits_per_second
from simulation.in_process import simulate

LAYOUT = Layout((("w", (64, 64)), ("b", (64,)), ("v", (10, 64)), ("c", (10,))))
LINK = Link(up=64_000, down=1e6)


def plan(devices: int = 25, layout: Layout = LAYOUT) -> UpdatePlan:
    params = np.full(layout.size, 0.1, np.float32)
    return UpdatePlan(layout, params, [0] * len(layout.tensors), devices, LINK)


def test_bytes_fall_from_dense_to_open_and_seconds_follow_the_link() -> None:
    found = {text: plan().option(text) for text in (*WAYS, *OPEN_WAYS)}
    up = [
        found[text].payload_bytes_up for text in ("dense:16", "dense:8", "low-rank:8:4", "topk:0.01:8", "topk:0.01:1")
    ]
    assert up == sorted(up, reverse=True)
    assert [text for text, option in found.items() if option.default] == [DEFAULT]
    assert {text for text, option in found.items() if option.open} == set(OPEN_WAYS)
    dense, blocks = found["dense:16"], found["block-score:0.1:8"]
    assert dense.largest_update == dense.payload_bytes_up
    length, bits = LAYOUT.size + 1 + 2 + 2 + 3 + 2, plan().choice.modulus_bits
    assert dense.payload_bytes_up == -(-length * bits // 8), "weight, saturated, count, loss and correct ride along"
    assert blocks.payload_bytes_down < dense.payload_bytes_down / 4, "a delta keeps to the blocks"
    default = plan(layout=Layout((("w", (400, 400)),))).option(DEFAULT)
    assert default.payload_bytes_down < 1.5 * default.payload_bytes_up, "the way down costs what the way up does"
    assert default.released_as == "factors"
    assert {text: found[text].released_as for text in ("dense:8", "block-score:0.1:8")} == {
        "dense:8": "whole",
        "block-score:0.1:8": "blocks",
    }
    for option in found.values():
        assert option.seconds_up == round(8 * (option.payload_bytes_up + option.control_bytes_up) / 64_000, 2)
        assert option.seconds_down == round(8 * (option.payload_bytes_down + option.control_bytes_down) / 1e6, 2)
        assert option.payload_bytes_up <= option.largest_update


def test_it_says_where_a_way_would_not_pay() -> None:
    small = Layout((("w", (10, 12)), ("b", (10,))))
    assert plan(layout=small).option("low-rank:8:4").sent_as == "dense, 16 bits"
    assert plan(5, small).choice.question.preset == "sites"


def test_a_way_whose_sides_take_turns_is_told_by_both() -> None:
    """A layer of 784 to 64 sends 64 rows of numbers in one round, and 784 columns in the next one."""
    found = plan(layout=Layout((("w", (64, 784)), ("b", (64,)))))
    option, bits = found.option("low-rank:8:4"), modulus_bits(4, found.choice.cap)
    smaller = 2 * option.payload_bytes_up - option.largest_update
    assert option.largest_update - smaller == pytest.approx(8 * (784 - 64) * bits / 8, abs=2)
    assert smaller > 8 * 64 * bits / 8


@pytest.mark.parametrize("update", ["dense:8", "low-rank:4:4"])
def test_a_simulation_sends_what_was_planned(update: str) -> None:
    history = simulate("digits", devices=6, rounds=2, model="mlp:64", update=update, profile="strict")
    layout = Layout((("0.weight", (64, 64)), ("0.bias", (64,)), ("1.weight", (10, 64)), ("1.bias", (10,))))
    option = plan(6, layout).option(update)
    sent = [row.payload_bytes_up for row in history.rounds[-2:]]
    assert max(sent) == option.largest_update
    assert np.ceil(np.mean(sent)) == option.payload_bytes_up


def test_speeds() -> None:
    assert [bits_per_second(text) for text in ("64kbit/s", "1.5Mbit/s", "300bit/s")] == [64e3, 1.5e6, 300.0]
    for lie in ("64", "kbit/s", "-1kbit/s", "0bit/s", "64kB/s", "nanbit/s"):
        with pytest.raises(UsageError, match="such as 64kbit/s"):
            bits_per_second(lie)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = str(tmp_path / "bundle")
    words = ["quantize", "mlp:16", "--input-shape", "64", "--outputs", "10", "--loss", "softmax", "--out", bundle]
    assert main(words) == 0
    capsys.readouterr()
    asked = ["plan", "update", "--bundle", bundle, "--devices", "100", "--uplink", "64kbit/s"]
    assert main([*asked, "--json", "--update", "dense:4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [option["update"] for option in found["options"]] == [*WAYS, *OPEN_WAYS, "dense:4"]
    assert found["downlink_bits_per_second"] == 64_000
    assert main(asked) == 0
    text = capsys.readouterr().out
    assert f"* {DEFAULT}" in text
    assert "the aggregator sees each device's update" in text
    assert main([*asked, "--update", "dense:99"]) == 1
    assert main(["plan", "update", "--devices", "3"]) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--devices", "0"], "--devices 0 can't be summed: use 3 or more"),
        (["--devices", "2"], "--devices 2 can't be summed"),
        (["--devices", "nine"], "--devices: invalid int value"),
        (["--uplink", "64k"], "--uplink '64k' is no speed"),
        (["--uplink", "1 MB/s"], "1 MB/s is 8Mbit/s"),
        (["--uplink=-5kbit/s"], "--uplink '-5kbit/s' is no speed"),
        (["--downlink", "0bit/s"], "--downlink '0bit/s' is no speed"),
        (["--bundle", "nowhere"], "nowhere can't be read: No such file"),
    ],
)
def test_what_a_new_user_types_wrongly_is_named(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = ["--bundle", str(tmp_path / "none"), "--devices", "9", "--uplink", "64kbit/s"]
    assert main(["plan", "update", *usual, *words]) != 0
    assert says in capsys.readouterr().err
