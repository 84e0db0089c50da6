"""One process's figures: processor time of a step, first loss, peak memory. Imports only the standard library.

Each side's script is run in an environment of its own, as `python SCRIPT FOLDER STEPS FROZEN`, where FROZEN is
`whole` (a step starts at the rows) or `cached` (it starts at what the frozen part gave).
"""

import json
import statistics
import time
from collections.abc import Callable

WARM_UP = 5


def peak_mb() -> float:
    """Return the peak of the resident set in 10^6 bytes."""
    with open("/proc/self/status", encoding="ascii") as file:  # noqa: PTH123 - pathlib would count as memory
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024 / 1e6


def report(step: Callable[[], float], steps: int, version: str) -> None:
    """Time a step, which returns the loss before it, and print what was found as JSON."""
    first, times = step(), []
    for _ in range(WARM_UP):
        step()
    for _ in range(steps):
        since = time.process_time()  # of the whole process: a second thread would count
        step()
        times.append(time.process_time() - since)
    found = {"ms": statistics.median(times) * 1000, "loss": first, "peak_mb": peak_mb(), "version": version}
    print(json.dumps(found))
