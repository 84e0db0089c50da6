"""Write or check the golden files: `python tests/vectors/generate.py --write`, or `--check`.

Everything follows from one seed, so the same code gives the same bytes on every machine. A file that changes means
that the wire changed: devices and aggregators of before and after do not understand one another.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import golden_hybrid
import golden_letters
import golden_numbers
import golden_secrets
import lies

FOLDER = Path(__file__).parent / "v1"
GOLDEN: Mapping[str, Callable[[], Any]] = {
    "cohort": golden_letters.cohort,
    "cohort_off": golden_letters.cohort_off,
    "cohort_strict": golden_letters.cohort_strict,
    "deltas": golden_numbers.deltas,
    "entropy": golden_letters.entropy,
    "hybrid": golden_hybrid.hybrid_keys,
    "graphs": golden_secrets.graphs,
    "keys": golden_secrets.derived_keys,
    "masks": golden_secrets.masks,
    "messages": golden_letters.messages,
    "packing": golden_numbers.packed,
    "pieces": golden_letters.pieces,
    "pipeline": golden_numbers.pipeline,
    "plan": golden_letters.plan,
    "rounding": golden_numbers.rounding,
    "seals": golden_secrets.seals,
    "shares": golden_secrets.shares,
    "snapshot": golden_numbers.snapshot,
    "sparse": golden_numbers.sparse_updates,
}


def text(value: Any) -> str:
    """Return a file's text: one line for each entry of the outer levels, so that a change shows where it is."""
    lines = json.dumps(value, indent=1)
    return re.sub(r"\[\s+((?:-?[0-9.e+-]+,?\s+)+)\]", lambda found: f"[{' '.join(found[1].split())}]", lines) + "\n"


def files() -> dict[str, str]:
    """Return the text of every file by its name."""
    found = {f"{name}.json": text({"about": make.__doc__, "vectors": make()}) for name, make in GOLDEN.items()}
    return found | {f"bad_{name}.json": text(cases) for name, cases in lies.all_cases().items()}


def differing() -> list[str]:
    """Return the names of files that are missing, stale or one too many."""
    made = files()
    there = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def main() -> int:
    """Write or check, and tell what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write the files: the wire changes")
    action.add_argument("--check", action="store_true", help="compare the files with what the code makes")
    arguments = parser.parse_args()
    names = differing()
    if arguments.write:
        made = files()
        for name in names:
            path = FOLDER / name
            path.unlink(missing_ok=True)
            if name in made:
                path.write_text(made[name])
    sys.stdout.write("".join(f"{name}\n" for name in names))
    return int(bool(names) and arguments.check)


if __name__ == "__main__":
    sys.exit(main())
