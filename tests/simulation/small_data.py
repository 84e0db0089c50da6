"""Small data of each task, dealt to nine devices of 12 to 76 rows, for runs that take a second."""

import numpy as np

from simulation.datasets import Dataset

DEVICES, FEATURES = 9, 5


def small(kind: str, seed: int = 0) -> Dataset:
    """Return rows of one task: three classes, two, or a number in the thousands."""
    rng = np.random.default_rng(seed)
    counts = 12 + 8 * np.arange(DEVICES)
    owners = np.repeat(np.arange(DEVICES), counts)
    test_owners = np.repeat(np.arange(DEVICES), 30)
    weights = rng.normal(size=(FEATURES, 3))

    def part(owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(len(owner), FEATURES)) + 0.3 * owner[:, None]
        scores = x @ weights + 0.3 * rng.normal(size=(len(owner), 3))
        if kind == "classification":
            y = scores.argmax(axis=1)
        elif kind == "binary":
            y = (scores[:, 0] > 0.3).astype(np.int64)
        else:
            y = 4_000 + 1_500 * scores[:, 0]
        return x.astype(np.float32), y

    x_train, y_train = part(owners)
    x_test, y_test = part(test_owners)
    names = np.array([f"site {i}" for i in range(DEVICES)])
    return Dataset(
        name=f"small {kind}",
        x_train=x_train,
        y_train=y_train,
        c_train=names[owners],
        x_test=x_test,
        y_test=y_test,
        c_test=names[test_owners],
    )
