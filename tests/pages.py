"""The pages for people, taken apart: fenced blocks, and one bash script that runs a page from its top to its end.

Processes that run until they are stopped go to the background, and the script goes on once they have said something.
"""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SKIPPED = {
    "make demo": "a minute long; tests/simulation/test_demo.py runs it small",
    "make test": "it is what runs this",
    "make venv": "it made the environment that this runs in",
    "pip install torch onnx onnxscript": "a gigabyte; docs/training.md says with which versions it was tried",
    "source .venv/bin/activate": "the same environment is first in the path already",
}
GOODBYE = 30.0
"""Seconds in which what a page has started must have ended."""
LEFT_OUT = {
    "edge.examples.add(x, y)  # arrays of your own": "tests/device runs these lines with a fleet around them",
    "import torch": "PyTorch is no part of this environment; what follows runs on the network that the page began with",
    "import keras": "the same for Keras",
}
"""A line of a block that is not run, and the reason."""
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SERVERS = re.compile(r"^accord (up|broker run|device run) .*$", re.MULTILINE)
_SMALLER = (
    (r"--rounds \d+", "--rounds 2"),
    (r"\brounds( ?)= ?\d+", r"rounds\1=\g<1>2"),
    (r"\b[18]883\b", "PORT"),
    (r"\b8884\b", "MUTUAL"),
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(language=found[1], text=found[2], line=text[: found.start()].count("\n") + 1)
        for found in _FENCE.finditer(text)
    ]


def script(page: Path, port: int) -> str:
    """Return the page as one bash script, with small settings; empty if it has nothing to run."""
    parts = []
    for block in blocks(page):
        if any(line in block.text for line in LEFT_OUT):
            continue
        if block.language == "sh":
            lines = [line for line in block.text.splitlines() if line not in SKIPPED]
            parts.append((block.line, _SERVERS.sub(_in_background, "\n".join(lines))))
        elif block.language == "python":
            name = f"line-{block.line}.py"
            command = f"python {name}"
            serves = "edge.run()" in block.text
            started = _started(command, wait=False) if serves else command
            parts.append((block.line, f"cat > {name} <<'PYTHON'\n{block.text}PYTHON\n{started}"))
    text = "".join(f"echo '{page.name}, line {line}' >&2\n{body}\n" for line, body in parts if body.strip())
    for pattern, small in _SMALLER:
        text = re.sub(pattern, small.replace("PORT", str(port)).replace("MUTUAL", str(free_port())), text)
    # Whoever was started has processes of its own to end, as `accord up` has a broker: it is asked, and waited for.
    return f"set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n{text}" if text else ""


def _in_background(found: re.Match[str]) -> str:
    return _started(found[0], wait=True)


def _started(command: str, *, wait: bool) -> str:
    """Return the lines that start a process and, if asked to, wait until it has said something or has ended."""
    log = f"{shlex.quote(re.sub(r'[^a-z0-9]+', '-', command))}.log"
    started = f"{command} >{log} 2>&1 &"
    return f"{started}\nuntil [ -s {log} ] || ! kill -0 $!; do sleep 0.05; done\ncat {log} >&2" if wait else started


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def alive(folder: Path) -> list[str]:
    """Return the command lines of processes that work in a folder or below it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def run(text: str, folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a script in an empty folder with this environment's programs first; no process outlives it."""
    home = {"HOME": str(folder), "MPLBACKEND": "agg", "MPLCONFIGDIR": str(folder / ".matplotlib")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "-c", text],
        cwd=folder,
        env=os.environ | home | {"PATH": path, "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as slow:
        os.killpg(process.pid, signal.SIGTERM)
        raise AssertionError(f"stopped after {timeout} s:\n{str(slow.stdout)[-4000:]}") from slow
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GOODBYE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(process.args, process.returncode, output, "")
