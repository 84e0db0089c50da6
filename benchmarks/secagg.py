"""The secure sum, signatures and CBOR included: server and client CPU seconds, and bytes, for one cohort.

Each device's letters are made, encoded, decoded and verified as over a broker; the sum is compared with NumPy's. The
last line is one JSON object; CPU times are medians of the repeats.
"""

import argparse
import json
import statistics
import time

import numpy as np

from accord.entropy import SeededEntropy
from accord.secagg import client, keys, server
from accord.secagg.authority import Authority
from accord.secagg.cohort import assembled, new_roster
from accord.signing import SigningKey
from accord.update import packing
from accord.wire.envelope import Envelope, seal
from accord.wire.messages import (
    TAG_OF,
    Certificate,
    Join,
    Masked,
    Member,
    Revocations,
    Roles,
    Roster,
    Share,
    Shares,
    Survivors,
    Unmask,
    opened,
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


def run(clients: int, size: int, dropout: float, bits: int, seed: int) -> dict[str, float | bool]:
    rng = np.random.default_rng(seed)
    aggregator, enrolment = SigningKey(b"a" * 32), SigningKey(b"e" * 32)
    roles = Roles(
        tenant="t", version=1, expires=10, enrolment=enrolment.public, aggregator=aggregator.public, publisher=bytes(32)
    )
    revocations = Revocations(version=1, serials=())
    seal_pair = keys.KeyPair(b"s" * 32)
    names = [f"dev-{i:03d}" for i in range(clients)]
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

    def up(name: str, message: Share | Masked | Unmask, context: bytes) -> bytes:
        tag = TAG_OF[type(message)]
        data = seal(
            tag, message.encode(), key=identities[name], sender=name, recipient="aggregator", context=context
        ).encode()
        meter.up += len(data)
        return data

    def down(message: Roster | Shares | Survivors, recipient: str, context: bytes) -> bytes:
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
    roster = new_roster("c", "standard", members)
    cohort = assembled(roster, CONTEXT, found)
    sharing_stage = server.Sharing(cohort, floor)
    letter_roster = down(roster, "c", CONTEXT)
    meter.switch("server")
    sharing, shares = {}, {}
    for name in names:
        stage = joining[name].roster(
            opened(received(letter_roster), Roster), authorities[name], profile="standard", floor=floor, cap=len(names)
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
    replies = {}
    for name, stage_three in waiting.items():
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--dropout", type=float, default=0.1, help="share of devices gone between SHARE and MASKED")
    parser.add_argument("--bits", type=int, default=16, help="width of the modulus")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the JSON line only")
    arguments = parser.parse_args()
    found = [
        run(arguments.clients, arguments.size, arguments.dropout, arguments.bits, seed)
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
    if not arguments.json:
        print(f"{arguments.repeats} cohorts of {arguments.clients}", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
