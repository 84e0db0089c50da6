"""Updates of a residual's tests, and a disk as a dictionary."""

from collections.abc import Sequence

import numpy as np

from accord.plan import Update
from edge_sdk.session_values import Forget, Keep

SIZE = 3
BUNDLE = bytes(32)
NOTHING = np.zeros(SIZE)


def update(feedback: int, line: int) -> Update:
    return Update(kind="low-rank", rank=1, feedback=feedback, support_digest=bytes(32), line=line)


def apply(files: dict[str, bytes], effects: Sequence[Keep | Forget]) -> None:
    for effect in effects:
        if isinstance(effect, Keep):
            files[effect.name] = effect.data
        else:
            for name in effect.names:
                files.pop(name, None)
