"""A job that no device could run is refused when it is asked for, with the key that is wrong."""

from pathlib import Path

import pytest

from accord.errors import AccordError, UsageError
from aggregator.config import load_job

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
        ("floor = 3", "floor = 2", r"\[job\] floor 2 is not from 3 to 255"),
        ("floor = 3", "floor = 300", r"\[job\] floor 300"),
        ("devices = 5", "devices = 2", "at least 1 round and 3 devices"),
        ("devices = 5", 'devices = "5"', r"\[job\] devices is not a whole number"),
        ("devices = 5", "", r"\[job\] devices is missing"),
        ("grace = 1.0", "grace = -1.0", r"\[windows\] are 0 or more seconds"),
        ("floor = 3", 'floor = 3\ntask = "poetry"', "poetry"),
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
