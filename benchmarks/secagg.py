"""The secure sum, signatures and CBOR included: server and client CPU seconds, and bytes, for one cohort.

Each device's letters are made, encoded, decoded and verified as over a broker; the sum is compared with NumPy's. The
last line is one JSON object; CPU times are medians of the repeats.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from peers.environments import environment

from accord.entropy import SeededEntropy
from accord.errors import LocalProtocolError
from accord.plan import STANDARD, STRICT, Graph
from accord.secagg import client, keys, server
from accord.secagg.authority import Authority
from accord.secagg.cohort import assembled, leaves_of, new_roster, shown_to
from accord.secagg.confirming import Confirming
from accord.secagg.graph import rule
from accord.signing import SigningKey
from accord.update import packing
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import TAG_OF, Certificate, Revocations, Roles, opened
from accord.wire.secure_sum import (
    Consistency,
    Join,
    Masked,
    Member,
    Quorum,
    Roster,
    Share,
    Shares,
    Survivors,
    Unmask,
)

CONTEXT = bytes(32)


class Meter:
    """CPU seconds by side, and bytes by direction."""

    def __init__(self) -> None:
        self.seconds = {"server": 0.0, "client": 0.0}
        self.up = self.down = self.vector = 0
        self._since = time.process_time()

    def switch(self, side: str) -> None:
        now = time.process_time()
        self.seconds[side] += now - self._since
        self._since = now

    def restart(self) -> None:
        self._since = time.process_time()


def rule_of(clients: int, neighbours: int) -> Graph:
    """Return the rule under which each client has so many neighbours; 0 is a complete graph."""
    if not neighbours:
        return Graph(complete_up_to=255)
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


def run(  # noqa: PLR0912 - one cohort, letter by letter
    clients: int, size: int, *, dropout: float, bits: int, graph: Graph, profile: str, seed: int
) -> dict[str, float | bool]:
    rng = np.random.default_rng(seed)
    aggregator, enrolment = SigningKey(b"a" * 32), SigningKey(b"e" * 32)
    roles = Roles(
        tenant="t", version=1, expires=10, enrolment=enrolment.public, aggregator=aggregator.public, publisher=bytes(32)
    )
    revocations = Revocations(version=1, serials=())
    seal_pair = keys.KeyPair(b"s" * 32)
    names = [f"dev-{i:04d}" for i in range(clients)]
    identities = {name: SigningKey(rng.bytes(32)) for name in names}
    certificates = {
        name: seal(
            TAG_OF[Certificate],
            Certificate(device=name, identity=key.public, serial=1, expires=10).encode(),
            key=enrolment,
            sender="enrolment",
            recipient=name,
        ).encode()
        for name, key in identities.items()
    }
    vectors = {name: rng.integers(0, 2**8, size, dtype=np.uint32) for name in names}
    gone = set(rng.choice(names, round(clients * dropout), replace=False))
    authorities = {name: Authority(roles=roles, revocations=revocations, now=1) for name in names}
    mine = Authority(roles=roles, revocations=revocations, now=1)
    floor, meter = 3, Meter()

    def up(name: str, message: Share | Masked | Consistency | Unmask, context: bytes) -> bytes:
        tag = TAG_OF[type(message)]
        data = seal(
            tag, message.encode(), key=identities[name], sender=name, recipient="aggregator", context=context
        ).encode()
        meter.up += len(data)
        return data

    def down(message: Roster | Shares | Survivors | Quorum, recipient: str, context: bytes) -> bytes:
        tag = TAG_OF[type(message)]
        return seal(
            tag, message.encode(), key=aggregator, sender="aggregator", recipient=recipient, context=context
        ).encode()

    def received(data: bytes) -> Envelope:
        meter.down += len(data)
        letter = Envelope.decode(data)
        letter.check(aggregator.public)
        return letter

    def taken(data: bytes, name: str) -> Envelope:
        letter = Envelope.decode(data)
        letter.check(identities[name].public)
        return letter

    meter.restart()
    joining = {
        name: client.Joining(name, identities[name], certificates[name], CONTEXT, SeededEntropy(rng.bytes(32)))
        for name in names
    }
    joins = {name: j.letter.encode() for name, j in joining.items()}
    meter.up += sum(map(len, joins.values()))
    meter.switch("client")
    members, found = [], []
    for name, data in joins.items():
        letter = Envelope.decode(data)
        join = opened(letter, Join)
        certificate = mine.certificate(join.certificate, name)
        letter.check(certificate.identity)
        members.append(Member(device=name, join=letter.payload, signature=letter.signature))
        found.append(certificate.identity)
    roster = new_roster("c", profile, members, graph)
    cohort = assembled(roster, CONTEXT, found)
    sharing_stage = server.Sharing(cohort, floor)
    if cohort.graph.complete:
        rosters = dict.fromkeys(names, down(roster, "c", CONTEXT))
    else:
        leaves = leaves_of(roster)
        rosters = {name: down(shown_to(roster, cohort, leaves, name), name, CONTEXT) for name in names}
    meter.switch("server")
    sharing, shares = {}, {}
    for name in names:
        stage = joining[name].roster(
            opened(received(rosters[name]), Roster),
            authorities[name],
            profile=profile,
            floor=floor,
            cap=len(names),
            rule=graph,
        )
        sharing[name] = stage
        shares[name] = up(name, stage.message, stage.cohort.context)
    meter.switch("client")
    for name, data in shares.items():
        sharing_stage.add(name, opened(taken(data, name), Share))
    collecting, answers = sharing_stage.close()
    dealt = {name: down(message, name, cohort.context) for name, message in answers.items()}
    meter.switch("server")
    waiting, masked = {}, {}
    for name in names:
        stage_two = sharing[name].shares(opened(received(dealt[name]), Shares))
        if name in gone:
            continue
        waiting[name], vector, dealers = stage_two.mask(vectors[name], bits)
        message = Masked(dealers=dealers, vector=packing.pack(vector, bits))
        masked[name] = up(name, message, cohort.context)
        meter.vector = len(message.vector)
        meter.up -= len(message.vector)
    meter.switch("client")
    for name, data in masked.items():
        update = opened(taken(data, name), Masked)
        collecting.add(name, update, packing.unpack(update.vector, size, bits))
    unmasking, survivors = collecting.close()
    letter_survivors = down(survivors, "c", cohort.context)
    meter.switch("server")
    replies, confirmed = {}, {}
    if profile == STRICT:
        confirmations = {}
        for name, stage_three in waiting.items():
            confirmed[name], consistency = stage_three.confirm(opened(received(letter_survivors), Survivors))
            confirmations[name] = up(name, consistency, cohort.context)
        meter.switch("client")
        confirming = Confirming(unmasking, survivors)
        for name, data in confirmations.items():
            letter = taken(data, name)
            confirming.add(name, opened(letter, Consistency), letter.signature)
        unmasking, quorum = confirming.close()
        letter_quorum = down(quorum, "c", cohort.context)
        meter.switch("server")
    for name, stage_three in waiting.items():
        if profile == STRICT:
            _, answer = confirmed[name].quorum(opened(received(letter_quorum), Quorum), seal_pair.public)
        else:
            _, answer = stage_three.survivors(opened(received(letter_survivors), Survivors), seal_pair.public)
        replies[name] = up(name, answer, cohort.context)
    meter.switch("client")
    for name, data in replies.items():
        unmasking.add(name, opened(taken(data, name), Unmask), seal_pair)
    total = unmasking.close(bits)
    meter.switch("server")
    expected = sum(vectors[name] for name in names if name not in gone) % 2**bits
    return {
        "server_cpu_s": meter.seconds["server"],
        "client_cpu_s": meter.seconds["client"] / clients,
        "upload_bytes": meter.vector,
        "control_bytes_up": meter.up / clients,
        "control_bytes_down": meter.down / clients,
        "exact": bool((total == expected).all()),
    }


def peer(clients: int, size: int, dropout: float, graph: Graph) -> dict[str, float]:
    """Return Flower's figures for the same numbers of clients, shares and answers, and as long a vector of float32."""
    degree, threshold = rule(clients, graph)
    words = [str(word) for word in (clients, size, degree + 1, threshold, dropout)]
    script = Path(__file__).parent / "peers" / "flower_secagg.py"
    done = subprocess.run([environment("flower"), script, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    return {f"peer_{name}": round(found[name], 4) for name in ("server_cpu_s", "client_cpu_s")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--dropout", type=float, default=0.1, help="share of devices gone between SHARE and MASKED")
    parser.add_argument("--neighbours", type=int, default=0, help="of each client on a sparse graph (default: all)")
    parser.add_argument("--profile", choices=[STANDARD, STRICT], default=STANDARD, help="(default %(default)s)")
    parser.add_argument("--bits", type=int, default=16, help="width of the modulus")
    parser.add_argument("--peer", choices=("flower",), help="also measure a peer, in an environment of its own")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    arguments = parser.parse_args()
    graph = rule_of(arguments.clients, arguments.neighbours)
    found = [
        run(
            arguments.clients,
            arguments.size,
            dropout=arguments.dropout,
            bits=arguments.bits,
            graph=graph,
            profile=arguments.profile,
            seed=seed,
        )
        for seed in range(arguments.repeats)
    ]
    result = {
        "server_cpu_s": round(statistics.median(f["server_cpu_s"] for f in found), 4),
        "client_cpu_s": round(statistics.median(f["client_cpu_s"] for f in found), 4),
        "upload_bytes": found[0]["upload_bytes"],
        "control_bytes_up": round(found[0]["control_bytes_up"]),
        "control_bytes_down": round(found[0]["control_bytes_down"]),
        "exact": all(f["exact"] for f in found),
    }
    if arguments.peer:
        result |= peer(arguments.clients, arguments.size, arguments.dropout, graph)
        result["peer_to_server"] = round(result["peer_server_cpu_s"] / result["server_cpu_s"], 1)
    if not arguments.json:
        print(f"{arguments.repeats} cohorts of {arguments.clients}", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
