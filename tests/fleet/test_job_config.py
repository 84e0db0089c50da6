"""A job that no device could run is refused when it is asked for, with the key that is wrong."""

from pathlib import Path

import pytest

from accord.errors import AccordError, UsageError
from accord.optimisers import Schedule
from aggregator.config import load_job
from aggregator.job_config import JobConfig, from_tables

JOB = """[job]
bundle = "bundle"
devices = 5
floor = 3
[training]
batch_size = 32
[windows]
grace = 1.0
"""


def _load(folder: Path, text: str) -> object:
    path = folder / "job.toml"
    path.write_text(text)
    return load_job(path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("floor = 3", "floor = 2", r"\[job\] floor 2 is not from 3 to 4096"),
        ("floor = 3", "floor = 5000", r"\[job\] floor 5000"),
        ("floor = 3", "floor = 300", "at least 1 round and 300 devices"),
        ("devices = 5", "devices = 2", "at least 1 round and 3 devices"),
        ("devices = 5", 'devices = "5"', r"\[job\] devices is not a whole number"),
        ("devices = 5", "", r"\[job\] devices is missing"),
        ("grace = 1.0", "grace = -1.0", r"\[windows\] are 0 or more seconds"),
        ("floor = 3", 'floor = 3\ntask = "poetry"', "poetry"),
        ("floor = 3", 'floor = 3\nprofile = "off"', r"\[job\] profile 'off' is not one of auto, standard, strict"),
        ("floor = 3", 'floor = 3\nprofile = "strict"\nsecure_aggregation = false', "strict needs masks"),
        ("floor = 3", 'floor = 3\nprofile = "strict"\ndropout = 0.3', "profile standard needs fewer answers"),
        ("floor = 3", 'floor = 3\nupdate = "top:0.01:8"', "use dense:BITS, block-score:SHARE:BITS or low-rank"),
        ("floor = 3", 'floor = 3\nupdate = "topk:0.01:8"', "put secure_aggregation = false"),
        ("[windows]", 'optimiser = "lion"\n[windows]', "not one of sgd, nesterov, adam, adamw"),
        ("[windows]", 'optimiser = "nesterov"\n[windows]', "give a momentum"),
        ("[windows]", 'optimiser = "adam"\nmomentum = 0.9\n[windows]', "leave it at 0 with adam"),
        ("[windows]", "learning_rate = nan\n[windows]", r"\[training\] nan is no rate"),
        ("[windows]", "beta2 = 1.0\n[windows]", "beta2"),
        ("[windows]", 'schedule = "hope"\n[windows]', "use one of constant, cosine, step"),
        ("[windows]", "decay_factor = 1.5\n[windows]", "above 0 and at most 1"),
    ],
)
def test_values_that_can_not_be(old: str, new: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(AccordError, match=says):
        _load(tmp_path, JOB.replace(old, new))


def test_a_bundle_of_another_task_or_of_smaller_batches(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(JOB)
    job = load_job(path)
    job.check_bundle("softmax", 32)
    with pytest.raises(UsageError, match="task classification needs a bundle made with --loss softmax"):
        job.check_bundle("mse", 32)
    with pytest.raises(UsageError, match="batch_size 32 is more than the 16 rows"):
        job.check_bundle("softmax", 16)


def test_what_was_asked_of_the_optimiser_comes_back_from_the_store(tmp_path: Path) -> None:
    asked = """optimiser = "adamw"
beta1 = 0.8
beta2 = 0.99
epsilon = 1e-6
weight_decay = 0.01
clip_norm = 2.5
warmup_steps = 7
schedule = "step"
decay_every = 3
decay_factor = 0.25
[windows]"""
    job = _load(tmp_path, JOB.replace("[windows]", asked))
    assert isinstance(job, JobConfig)
    kept = from_tables(job.to_json(job.bundle), "the store")
    assert kept == job
    assert kept.training.optimiser == "adamw"
    assert (kept.training.epsilon, kept.training.clip_norm, kept.training.warmup_steps) == (1_000_000, 2_500_000, 7)
    assert kept.settings(outputs=2).schedule == Schedule(kind="step", decay_every=3, decay_factor=0.25)
