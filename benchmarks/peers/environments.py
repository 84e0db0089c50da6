"""One environment for each side of a comparison, made by uv in a cache folder and kept there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = {
    "torch": ["torch==2.13.0+cpu", "numpy"],
    "onnxruntime-training": ["onnxruntime-training==1.19.2", "onnx==1.16.2", "numpy<2", "setuptools"],
    "accord-onnx": [f"{ROOT}[onnx]"],
    "litert": [f"{ROOT}[litert]"],
    "flower": ["flwr==1.42.0", "numpy"],
}
PYTHONS = {"onnxruntime-training": "3.10"}
"""Where a side's last wheel was made for an older Python than ours."""


def cache() -> Path:
    """Return the folder of the environments: `$ACCORD_BENCHMARKS`, else one in the user's cache."""
    named = os.environ.get("ACCORD_BENCHMARKS")
    return Path(named) if named else Path.home() / ".cache" / "accord-benchmarks"


def environment(side: str) -> Path:
    """Make a side's environment where there is none, bring our own up to date, and return its Python."""
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    if not Path(uv).exists():
        sys.exit("uv is needed: make venv")
    folder = cache() / side
    python = folder / "bin" / "python"
    ours = side in ("accord-onnx", "litert")
    if python.exists() and not ours and (folder / "complete").exists():
        return python
    if not python.exists():
        run([uv, "venv", "--python", PYTHONS.get(side, sys.executable), str(folder)])
    # PyPI's torch for Linux carries gigabytes of CUDA: the CPU wheel comes from PyTorch's index, or from a folder.
    wheels = os.environ.get("PIP_FIND_LINKS")
    source = ["--find-links", wheels] if wheels else ["--torch-backend", "cpu"]
    more = source if side == "torch" else ["--reinstall-package", "accord-fl"] if ours else []
    run([uv, "pip", "install", "--python", str(python), *more, *PACKAGES[side]])
    (folder / "complete").touch()
    return python


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)


def installed_mb(python: Path) -> float:
    """Return what lies in an environment's site-packages, compiled files left out, in 10^6 bytes."""
    site = next(python.parent.parent.glob("lib/python*/site-packages"))
    files = (path for path in site.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return round(sum(path.stat().st_size for path in files) / 1e6, 1)
