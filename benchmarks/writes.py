"""What a device writes to its card in a round, file by file: for two models, with a residual and without one.

One device runs in this process, beside two others and an aggregator of their own, over a real broker. Every write goes
through one door that counts; folders, and what a file system adds, are not in it. The last line is one JSON object.
"""

import argparse
import json
import re
import tempfile
import threading
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from accord.bundle.archive import read_bundle
from accord.entropy import SeededEntropy
from accord.files import DISK
from edge_sdk import EdgeClient, load
from edge_sdk.rows import Rows
from edge_sdk.session_values import Finished, Refused
from quantize import make_bundle
from simulation.rig import Rig, RigSettings, records

NAMES = ("dev-0", "dev-1", "dev-2")
MODELS = ("mlp:256,128", "mlp:960,960")
"""50,826 and 994,570 parameters for rows of 64 numbers and 10 classes."""
UPDATES = ("low-rank:8:4", "dense:4")
"""With a residual, and with none: a dense update leaves nothing out."""
SHAPE, CLASSES, BATCH, ROWS = (64,), 10, 32, 64


def rows(seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, ROWS + 32)
    x = (rng.normal(size=(ROWS + 32, *SHAPE)) + y[:, None] / 5).astype(np.float32)
    return Rows(x_train=x[:ROWS], y_train=y[:ROWS], x_test=x[ROWS:], y_test=y[ROWS:])


def measured(model: str, update: str, rounds: int, folder: Path) -> dict[str, Any]:
    """Return the parameters of the model and the bytes written by file in a training round, on average."""
    windows = {"gather": 60.0, "join": 60.0, "share": 60.0, "collect": 200.0, "unmask": 60.0, "grace": 1.0}
    settings = RigSettings(
        broker="embedded", devices=3, rounds=rounds, floor=3, learning_rate=0.05, momentum=0.9, batch_size=BATCH,
        epochs=1, windows=windows, tls=False, update=update,
    )  # fmt: skip
    rig = Rig(folder, settings, NAMES)
    bundle = make_bundle(model, SHAPE, CLASSES, "softmax", BATCH, SeededEntropy(1), rig.fleet.publisher())
    rig.prepare(bundle, {name: rows(seed) for seed, name in enumerate(NAMES)})
    trained: set[int] = set()
    marks: list[tuple[int, Counter[str], int]] = []

    def told(effect: Finished | Refused) -> None:
        if isinstance(effect, Finished) and effect.included:
            marks.append((effect.round, Counter(device._records.written), DISK.system.written))  # noqa: SLF001 - no app needs it
            if len(trained) == rounds:
                device.stop()

    try:
        rig.start_broker()
        process = rig.start_aggregator()
        threading.Thread(target=lambda: list(records(process)), daemon=True).start()
        for name in NAMES:
            rig.start_device(name)  # the first one's file is all that is needed of it
            if name == NAMES[0]:
                rig.kill_device(name)
        config = load(folder / "devices" / NAMES[0] / "device.toml")
        with EdgeClient(config, told, progress=lambda step: trained.add(step.round)) as device:
            device.run()
    finally:
        rig.close()
    found: Counter[str] = Counter()
    every = 0
    pairs = [(one, two) for one, two in pairwise(marks) if two[0] in trained][1:]
    for (_, before, all_before), (_, after, all_after) in pairs:  # the first one has no residual to add yet
        for name in after:
            found[re.sub(r"-\d$", "-N", name)] += after[name] - before[name]
        every += all_after - all_before
    files = {name: round(size / len(pairs)) for name, size in sorted(found.items()) if size}
    total = round(every / len(pairs))
    return {
        "parameters": read_bundle(bundle).manifest.layout.size,
        "update": update,
        "bytes": files | {"other": total - sum(files.values())},
        "total": total,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds",
        type=int,
        default=17,
        help="training rounds; every eighth writes the model whole (default %(default)s)",
    )
    parser.add_argument("--models", nargs="+", default=MODELS, help="as in make_bundle (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    arguments = parser.parse_args()
    results = []
    for model in arguments.models:
        for update in UPDATES:
            with tempfile.TemporaryDirectory() as folder:
                results.append(measured(model, update, arguments.rounds, Path(folder)))
            if not arguments.json:
                print(results[-1], flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
