"""What the targets ask for is guessed with a reason, and a wrong wish is refused with one."""

from typing import Any

import numpy as np
import pytest

from accord.errors import UsageError
from simulation.task import Task, infer_task


@pytest.mark.parametrize(
    ("y", "kind", "classes"),
    [
        (np.arange(100) % 2, "binary", (0, 1)),
        (np.where(np.arange(9) % 2, 1.5, -1.0), "binary", (-1.0, 1.5)),
        (np.arange(4) < 2, "binary", (False, True)),
        (np.array(["no", "yes", "no"]), "binary", ("no", "yes")),
        (np.array(["a", "b", "c"]), "classification", ("a", "b", "c")),
        (np.arange(100) % 10, "classification", tuple(range(10))),
        ((np.arange(100) % 3).astype(np.float32), "classification", (0.0, 1.0, 2.0)),
        (np.arange(100), "regression", ()),
        (np.arange(100) / 3, "regression", ()),
        (np.arange(2000) % 150, "regression", ()),
    ],
)
def test_the_guess_comes_with_a_sentence(y: Any, kind: str, classes: tuple[Any, ...]) -> None:
    task = infer_task(y)
    assert task.kind == kind
    assert task.classes == classes
    assert task.sentence.startswith(f"task {kind}: y ")
    assert "--task" in task.sentence


def test_labels_become_places_and_back() -> None:
    y = np.array(["cat", "ant", "cat", "bee"])
    task = infer_task(y)
    assert task.encode(y).tolist() == [2, 0, 2, 1]
    assert task.encode(y).dtype == np.int64
    assert task.outputs == 3
    assert [task.classes[i] for i in task.encode(y)] == y.tolist()
    assert infer_task(np.array([5, 7, 5])).encode(np.array([7])).tolist() == [1]
    assert infer_task(np.array([5, 7, 5]), "regression").encode(np.array([7])).dtype == np.float32
    assert infer_task(np.array([5, 7, 5])).outputs == 1
    assert infer_task(np.array([True, False])).encode(np.array([True, False])).tolist() == [1, 0]


@pytest.mark.parametrize("label", ["aaa", "cow", "zoo"])
def test_a_label_from_nowhere_is_refused(label: str) -> None:
    task = infer_task(np.array(["cat", "ant", "bee"]))
    with pytest.raises(UsageError, match=f"label .*{label}.* is none of the classes 'ant', 'bee', 'cat'"):
        task.encode(np.array([label]))
    with pytest.raises(UsageError, match="can't be among"):
        task.encode(np.array([1]))


def test_wishes_that_the_targets_cannot_serve() -> None:
    with pytest.raises(UsageError, match="nothing to learn"):
        infer_task(np.ones(5))
    with pytest.raises(UsageError, match="there are 3: use --task classification"):
        infer_task(np.arange(3), "binary")
    with pytest.raises(UsageError, match="use --task regression"):
        infer_task(np.arange(50), "classification")
    with pytest.raises(UsageError, match="they hold text"):
        infer_task(np.array(["a", "b"]), "regression").encode(np.array(["a"]))
    with pytest.raises(UsageError, match="can't have 0 classes"):
        Task(kind="binary", classes=(), sentence="")
    with pytest.raises(UsageError, match="'ranking' is unknown"):
        Task(kind="ranking", classes=(), sentence="")  # type: ignore[arg-type]
