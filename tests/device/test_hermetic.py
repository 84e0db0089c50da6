"""A device lives inside its state folder and its one connection: seen by Python's audit hooks, and by the kernel.

Audit hooks do not see native code, such as a model runtime's; strace does. One thing both see beside the broker: paho
wakes its own thread through a pair of sockets on the loopback, whose two ends are in the device's process.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from device_fleet import NAMES, DeviceFleet

HERMIT = Path(__file__).parent / "hermit.py"
NETWORK = "connect,bind,sendto,getsockname"
PROCESSES = "fork,vfork,clone,clone3,execve,execveat"
FILES = (
    "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat,truncate"
)
NAME_SERVICE = 'sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"'
"""Python asks for the user's home when it starts without one, whatever it runs."""
WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|^creat")


def run(fleet: DeviceFleet, prefix: list[str]) -> dict[str, Any]:
    """Run the hermit beside two ordinary devices: no home, no place for temporary files, no folder of its own."""
    for name in NAMES[1:]:
        fleet.rig.start_device(name)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": "/nowhere",
    }
    done = subprocess.run(
        [*prefix, sys.executable, str(HERMIT), str(fleet.config(NAMES[0]))],
        cwd="/proc",
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["steps"] > 0
    assert found["onnxruntime"], "it trained with a native runtime"
    assert "HOME" not in found["environment"]
    return found


def test_python_sees_no_write_outside_the_state_folder_no_process_and_no_signal_handler(fleet: DeviceFleet) -> None:
    found = run(fleet, [])
    state = str(fleet.rig.journals[NAMES[0]])
    writes = [event for event in found["events"] if event[0] == "write"]
    assert len(writes) > 10, "the hook sees what the device writes"
    outside = [e for e in writes if (e[2] != state and not e[2].startswith(state + "/")) or ".." in e[2]]
    assert outside == []
    assert [event for event in found["events"] if event[0] == "start"] == []
    assert found["signals"] == {}
    assert found["threads"] == []
    network = {tuple(event) for event in found["events"] if event[0].startswith("socket.")}
    broker = ("socket.connect", str((fleet.rig.broker.host, fleet.rig.broker.mutual_port)))
    assert broker in network
    bound = {("socket.bind", "('127.0.0.1', 0)"), ("socket.bind", "('', 0)")}
    assert network <= bound | {broker, ("socket.connect", "itself")}


def strace() -> str:
    """Return the path of strace, or skip with the reason why it can't run."""
    path = shutil.which("strace")
    if path is None:
        pytest.skip("strace is not installed: apt-get install strace")
    tried = subprocess.run([path, "-f", "/bin/true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"strace can't trace here: {tried.stderr.strip()[:200]}")
    return path


def test_the_kernel_sees_no_connection_but_the_brokers_and_no_write_outside_the_state_folder(
    fleet: DeviceFleet, tmp_path: Path
) -> None:
    log = tmp_path / "calls"
    run(fleet, [strace(), "-f", "-qq", "-s", "4096", "-e", f"trace={NETWORK},{PROCESSES},{FILES}", "-o", str(log)])
    calls = _calls(log.read_text(errors="replace"))
    state = str(fleet.rig.journals[NAMES[0]])
    done = [call for call in calls if "= -1" not in call]
    opened = [c for c in done if c.startswith(("openat(", "open(", "creat("))]
    changed = [c for c in done if re.match(r"(mkdir|rename|unlink|link|symlink|truncate)", c)]
    paths = {name for c in opened if WRITING.search(c) for name in _names(c)} | {n for c in changed for n in _names(c)}
    assert len([path for path in paths if path.startswith(state + "/")]) > 5, "strace sees what the device writes"
    assert {path for path in paths if path != state and not path.startswith(state + "/")} <= {"/dev/null"}

    own = {port for c in calls if c.startswith("getsockname(") for port in _ports(c)}
    broker = (str(fleet.rig.broker.mutual_port), fleet.rig.broker.host)
    tried = [c for c in calls if c.startswith("connect(") and NAME_SERVICE not in c]
    connects = {found for c in tried for found in _ports(c) or [("?", c)]}
    assert broker in connects
    assert connects - {broker} <= own
    assert {host for _, host in connects} == {"127.0.0.1"}
    bound = {found for c in calls if c.startswith("bind(") for found in _ports(c) or [("?", c)]}
    assert bound <= {("0", "127.0.0.1"), ("0", "0.0.0.0")}, "no port of its choice is opened"
    assert [c for c in calls if c.startswith("sendto(") and "sa_family=AF_INET" in c] == []

    assert [c for c in calls if re.match(r"(fork|vfork|clone|clone3)\(", c) and "CLONE_THREAD" not in c] == []
    assert len([c for c in calls if c.startswith("execve")]) == 1, "python itself"


def _calls(text: str) -> list[str]:
    """Return whole system calls: strace cuts one in two when another thread comes between."""
    halves: dict[str, str] = {}
    found = []
    for line in text.splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            halves[thread] = call.removesuffix("<unfinished ...>")
            continue
        if call.startswith("<... "):
            call = halves.pop(thread, "") + call.partition("resumed>")[2]
        found.append(call)
    assert not [half for half in halves.values() if not half.startswith("exit")]
    return found


def _names(call: str) -> list[str]:
    return re.findall(r'"([^"]*)"', call)


def _ports(call: str) -> list[tuple[str, str]]:
    return re.findall(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)', call)
