"""The long checks in full: thousands of cohorts with dropouts at every stage. Prints one JSON object."""

import argparse
import importlib.util
import json
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def cohorts(count: int, seed: int) -> dict[str, int]:
    """Run random cohorts of 3 to 40 devices and return how they ended; a wrong sum raises."""
    spec = importlib.util.spec_from_file_location("transcript", HERE / "secagg" / "test_transcript.py")
    assert spec is not None
    assert spec.loader is not None
    transcript = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(transcript)
    rng = np.random.default_rng(seed)
    ended: dict[str, int] = {}
    for _ in range(count):
        n, rate, drawn = int(rng.integers(3, 41)), float(rng.uniform(0, 0.5)), int(rng.integers(0, 2**32))
        reason = transcript.cohort_with_dropouts(n, rate, drawn) or "exact"
        ended[reason] = ended.get(reason, 0) + 1
    return ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohorts", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()
    ended = cohorts(arguments.cohorts, arguments.seed)
    print(
        json.dumps(
            {
                "cohorts": sum(ended.values()),
                "ended": ended,
                "wrong": 0,
                "seed": arguments.seed,
                "seconds": round(time.monotonic() - started, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
