"""What a device costs: packages, megabytes on disk, import time, memory, and bytes written per round.

Two fresh environments are made in a temporary folder with uv, `accord-fl` and `accord-fl[onnx]`, from this checkout. In
each, a device takes part in real rounds beside two other devices, over TLS and once without. The last line is one JSON
object. Times are processor time, the median of some interleaved runs, megabytes 10^6 bytes, memory the peak of the
resident set.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np

from accord.entropy import SeededEntropy
from edge_sdk.rows import Rows
from quantize import make_bundle
from simulation.rig import Rig, RigSettings, records

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("dev-0", "dev-1", "dev-2")
ROUNDS, BATCH, ROWS = 3, 32, 256
SHAPE, CLASSES = (1, 28, 28), 10
BARE = "import numpy, paho.mqtt.client, cbor2, nacl.bindings"
CLIENT = "from edge_sdk import EdgeClient"
PEAK = """
def peak():
    with open("/proc/self/status") as file:  # getrusage tells the peak of the process before exec, too
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024 / 1e6
"""
IMPORT = """
import json, sys, time
start = time.process_time()  # of the processor: a busy machine makes it no longer
{code}
ms = (time.process_time() - start) * 1000
{peak}
print(json.dumps([ms, peak()]))
"""
DEVICE = """
import json, sys
from pathlib import Path
from edge_sdk import EdgeClient, load
from accord.files import DISK

def blocks():
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["write_bytes"])

trained, marks, wanted = set(), [], int(sys.argv[2])

def told(effect):
    included = getattr(effect, "included", False)
    if included:
        marks.append((effect.round, DISK.system.written, blocks(), edge._agent.traffic.payload_up))
        if len(trained) == wanted:
            edge.stop()

with EdgeClient(load(Path(sys.argv[1])), told, progress=lambda step: trained.add(step.round)) as edge:
    edge.run()
changes = [[b - a for a, b in zip(one[1:], two[1:])] for one, two in zip(marks, marks[1:]) if two[0] in trained]
print(json.dumps({"peak": peak(), "changes": changes, "onnxruntime": "onnxruntime" in sys.modules}))
"""


def uv() -> str:
    found = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    if not Path(found).exists():
        sys.exit("uv is needed: make venv")
    return found


def environment(folder: Path, extra: str) -> Path:
    """Make an environment and return its Python."""
    python = folder / "bin" / "python"
    for words in (["venv", "--python", sys.executable, str(folder)], ["pip", "install", f"{ROOT}{extra}"]):
        more = ["--python", str(python)] if words[0] == "pip" else []
        subprocess.run([uv(), *words, *more], check=True, capture_output=True)
    return python


def call(python: Path, code: str, *words: str) -> Any:
    clean = {"PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(python), "-c", code, *words],
        cwd=python.parent,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def rows(seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, ROWS + 64)
    x = (rng.normal(size=(ROWS + 64, *SHAPE)) + y[:, None, None, None] / 5).astype(np.float32)
    return Rows(x_train=x[:ROWS], y_train=y[:ROWS], x_test=x[ROWS:], y_test=y[ROWS:])


def round_trip(python: Path, model: str, folder: Path, *, tls: bool = True) -> dict[str, Any]:
    """Run rounds with one device in the environment; return its peak memory and bytes per training round."""
    windows = {"gather": 60.0, "join": 60.0, "share": 60.0, "collect": 200.0, "unmask": 60.0, "grace": 1.0}
    settings = RigSettings(
        broker="embedded", devices=3, rounds=ROUNDS, floor=3, learning_rate=0.05, momentum=0.9, batch_size=BATCH,
        epochs=1, windows=windows, tls=tls,
    )  # fmt: skip
    rig = Rig(folder, settings, NAMES)
    bundle = make_bundle(model, SHAPE, CLASSES, "softmax", BATCH, SeededEntropy(1), rig.fleet.publisher())
    rig.prepare(bundle, {name: rows(seed) for seed, name in enumerate(NAMES)})
    try:
        rig.start_broker()
        process = rig.start_aggregator()
        reader = threading.Thread(target=lambda: list(records(process)), daemon=True)
        reader.start()
        for name in NAMES:
            rig.start_device(name)  # the first one's file is all that is needed of it
            if name == NAMES[0]:
                rig.kill_device(name)
        found = call(python, PEAK + DEVICE, str(folder / "devices" / NAMES[0] / "device.toml"), str(ROUNDS))
    finally:
        rig.close()
    written, blocks, payload = np.mean(found["changes"], axis=0)
    return {
        "peak": round(found["peak"], 1),
        "written": int(written),
        "blocks": int(blocks),
        "payload": int(payload),
        "onnxruntime": found["onnxruntime"],
    }


def measured(python: Path, repeats: int) -> dict[str, Any]:
    """Return what an environment weighs and how long imports take."""
    site = next(python.parent.parent.glob("lib/python*/site-packages"))
    codes = {"sdk": "import edge_sdk", "client": CLIENT, "bare": BARE}
    runs: dict[str, list[Any]] = {name: [] for name in codes}
    for _ in range(repeats):
        for name, code in codes.items():
            runs[name].append(call(python, IMPORT.format(code=code, peak=PEAK)))
    usual = {name: np.median(found, axis=0).tolist() for name, found in runs.items()}
    files = [path for path in site.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {
        "packages": len(list(site.glob("*.dist-info"))),
        "site_packages_mb": round(sum(path.stat().st_size for path in files) / 1e6, 1),
        "import_ms": round(usual["sdk"][0], 1),
        "import_client_ms": round(usual["client"][0], 1),
        "import_bare_ms": round(usual["bare"][0], 1),
        "import_client_over_bare": round(usual["client"][0] / usual["bare"][0], 2),
        "rss_import_mb": round(usual["client"][1], 1),
        "rss_bare_mb": round(usual["bare"][1], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    arguments = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        for name, extra in (("base", ""), ("onnx", "[onnx]")):
            python = environment(home / name, extra)
            found = measured(python, arguments.repeats)
            mlp = round_trip(python, "mlp:64", home / f"{name}-mlp")
            found |= {
                "written_bytes_per_round": mlp["written"],
                "disk_bytes_per_round": mlp["blocks"],
                "update_bytes_per_round": mlp["payload"],
                "rss_training_mb": mlp["peak"],
                "rss_training_plain_mb": round_trip(python, "mlp:64", home / f"{name}-plain", tls=False)["peak"],
            }
            if name == "onnx":
                if not mlp["onnxruntime"]:
                    sys.exit("the device did not train with onnxruntime")
                cnn = round_trip(python, "cnn:small", home / "onnx-cnn")
                found |= {
                    "rss_training_cnn_mb": cnn["peak"],
                    "written_bytes_per_round_cnn": cnn["written"],
                    "update_bytes_per_round_cnn": cnn["payload"],
                }
            result[name] = found
            if not arguments.json:
                print(f"{name}: {found}", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
