"""The secure sum, signatures and CBOR included: server and client CPU seconds, bytes and memory, for one cohort.

Each device's letters are made, encoded, decoded and verified as over a broker; the sum is compared with NumPy's. CPU
times are medians of the repeats. The last line is one JSON object, with the figures of the complete graph under
"complete"; with --scaling, the figures of many cohorts and the exponents that fit them.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from peers.environments import environment
from secagg_case import Case
from secagg_scaling import scaling
from secagg_sides import measured

from accord import prg
from accord.errors import LocalProtocolError
from accord.plan import CLASSIC, KEYS, STANDARD, STRICT, Graph
from accord.secagg.graph import rule
from accord.secagg.shamir import MAX_SHARES

STREAM = 1 << 26
"""Bytes of keystream that are timed."""


def rule_of(clients: int, neighbours: int) -> Graph:
    """Return the rule under which each client has so many neighbours; 0 is a complete graph."""
    if not neighbours:
        return Graph(complete_up_to=MAX_SHARES)
    degrees: dict[int, Graph] = {}
    for percent in range(60):
        found = Graph(complete_up_to=0, corrupt=100_000, dropout=10_000 * percent)
        try:
            degrees.setdefault(rule(clients, found)[0], found)
        except LocalProtocolError:  # past what a secret can have shares for
            break
    if neighbours not in degrees:
        sys.exit(f"with {clients} clients and a tenth of them corrupt, --neighbours is one of {sorted(degrees)}")
    return degrees[neighbours]


def keystream_speed() -> tuple[float, float | None]:
    """Return GB/s of our keystream and of `openssl speed`, each the best of five that take turns; None: no openssl."""
    ours, theirs = [], []
    for _ in range(5):
        since = time.process_time()
        for _piece in prg.keystream_pieces([b"k" * prg.KEY_SIZE], bytes(prg.NONCE_SIZE), STREAM):
            pass
        ours.append(STREAM / (time.process_time() - since) / 1e9)
        openssl = shutil.which("openssl")
        if openssl:
            command = [openssl, "speed", "-evp", "chacha20", "-bytes", "65536", "-seconds", "1"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            theirs.append(float(done.stdout.split()[-1].rstrip("k")) / 1e6)  # in 1000s of bytes per second
    return max(ours), max(theirs, default=None)


def peer(clients: int, size: int, dropout: float, graph: Graph) -> dict[str, Any]:
    """Return Flower's figures for the same numbers of clients, shares and answers, and as long a vector of float32."""
    degree, threshold = rule(clients, graph)
    words = [str(word) for word in (clients, size, degree + 1, threshold, dropout)]
    script = Path(__file__).parent / "peers" / "flower_secagg.py"
    done = subprocess.run([environment("flower"), script, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    return {f"peer_{name}": found[name] for name in ("server_cpu_s", "client_cpu_s", "upload_bytes")}


def figures(arguments: argparse.Namespace, graph: Graph, speed: tuple[float, float | None]) -> dict[str, Any]:
    """Return one object of figures, for one graph."""
    runs = [
        measured(
            Case(
                clients=arguments.clients,
                size=arguments.size,
                bits=arguments.bits,
                dropout=arguments.dropout,
                graph=graph,
                seed=seed,
                profile=arguments.profile,
                keys=arguments.keys,
            ),
            without_cryptography=arguments.without_cryptography,
        )
        for seed in range(arguments.repeats)
    ]
    theirs: dict[str, Any] = dict.fromkeys(("peer_server_cpu_s", "peer_client_cpu_s", "peer_upload_bytes"))
    if arguments.peer:
        theirs = peer(arguments.clients, arguments.size, arguments.dropout, graph)
    server = statistics.median(run["server_cpu_s"] for run in runs)
    ratio = theirs["peer_server_cpu_s"] / server if arguments.peer else None
    found = {
        "server_cpu_s": server,
        "peer_server_cpu_s": theirs["peer_server_cpu_s"],
        "ratio": ratio,
        "client_cpu_s": statistics.median(run["client_cpu_s"] for run in runs),
        "peer_client_cpu_s": theirs["peer_client_cpu_s"],
        "upload_bytes": runs[0]["upload_bytes"],
        "peer_upload_bytes": theirs["peer_upload_bytes"],
        "control_bytes_up": round(runs[0]["control_bytes_up"]),
        "control_bytes_down": round(runs[0]["control_bytes_down"]),
        "prg_gb_s": speed[0],
        "prg_limit_gb_s": speed[1],
        "prg_backend": runs[0]["prg_backend"],
        "peak_rss_mb": max(run["peak_rss_mb"] for run in runs),
        "exact": all(run["exact"] for run in runs),
    }
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--size", type=int, default=100_000, help="coordinates of a vector")
    parser.add_argument("--dropout", type=float, default=0.1, help="share of devices gone between SHARES and MASKED")
    parser.add_argument("--neighbours", type=int, default=42, help="of each client; 0: all (default: 42)")
    parser.add_argument(
        "--profile", choices=[STANDARD, STRICT], default=STANDARD, help="strict: the complete graph alone"
    )
    parser.add_argument("--keys", choices=KEYS, default=CLASSIC, help="with mlkem768: against quantum computers, too")
    parser.add_argument("--bits", type=int, default=16, help="width of the modulus")
    parser.add_argument("--peer", choices=("flower",), help="also measure a peer, in an environment of its own")
    parser.add_argument("--without-cryptography", action="store_true", help="of the devices: PyNaCl alone")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scaling", action="store_true", help="many cohorts: from 50 to 1,000, 10^4 to 10^7 values")
    parser.add_argument("--plot", type=Path, help="with --scaling: write the picture to this file, .svg or .png")
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    arguments = parser.parse_args()
    if not arguments.json:
        print("one cohort after the other, each side in a process of its own", flush=True)
    if arguments.scaling:
        print(json.dumps(scaling(arguments.plot, quiet=arguments.json)))
        return
    speed = keystream_speed()
    neighbours = 0 if arguments.profile == STRICT else arguments.neighbours
    found = figures(arguments, rule_of(arguments.clients, neighbours), speed)
    if neighbours:
        whole = arguments.clients <= MAX_SHARES  # a secret has no more shares
        found["complete"] = figures(arguments, rule_of(arguments.clients, 0), speed) if whole else None
    print(json.dumps(found))


if __name__ == "__main__":
    main()
