"""Runs a device until it has trained, in a process of its own, and prints what it did that a library may not do.

Run as `python hermit.py CONFIG`; the last line is one JSON object.
"""

import json
import os
import signal
import sys
import threading
from typing import Any

EVENTS: list[list[Any]] = []
LISTENERS: list[Any] = []
STARTS = (
    "subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn",
)  # fmt: skip
CHANGES = (
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.utime", "os.setxattr", "shutil.rmtree", "shutil.move", "tempfile.mkstemp", "tempfile.mkdtemp",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def writes(name: str, arguments: tuple[Any, ...]) -> bool:
    if name in CHANGES:
        return not isinstance(arguments[0], int)  # the opening of a handle was seen already
    return name == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING)


def hook(name: str, arguments: tuple[Any, ...]) -> None:
    if name in STARTS:
        EVENTS.append(["start", name, str(arguments[0]) if arguments else ""])
    elif writes(name, arguments):
        EVENTS.append(["write", name, str(arguments[0])])
    elif name == "socket.bind":
        LISTENERS.append(arguments[0])
        EVENTS.append([name, str(arguments[1])])
    elif name == "socket.connect":
        own = {listener.getsockname() for listener in LISTENERS if listener.fileno() >= 0}
        EVENTS.append([name, "itself" if arguments[1] in own else str(arguments[1])])
    elif name in ("socket.sendto", "socket.gethostbyname"):
        EVENTS.append([name, str(arguments)])


def handlers() -> dict[str, str]:
    return {number.name: repr(signal.getsignal(number)) for number in signal.valid_signals() if hasattr(number, "name")}


def main() -> None:
    before = handlers()
    sys.addaudithook(hook)
    from pathlib import Path  # noqa: PLC0415 - what importing does is seen too

    from edge_sdk import EdgeClient, load  # noqa: PLC0415 - the same

    steps: list[Any] = []

    def told(effect: Any) -> None:
        if steps and getattr(effect, "included", False):
            edge.stop()

    with EdgeClient(load(Path(sys.argv[1])), told, progress=steps.append) as edge:
        edge.run()
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    changed = {name: handler for name, handler in handlers().items() if before[name] != handler}
    found = {"steps": len(steps), "events": EVENTS, "threads": threads, "signals": changed}
    found |= {"onnxruntime": "onnxruntime" in sys.modules, "environment": sorted(os.environ)}
    print(json.dumps(found))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main()
