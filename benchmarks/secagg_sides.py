"""The two sides of one secure sum, each in a process of its own: a fleet and its aggregator, with a pipe for a broker.

Every letter is made, encoded, decoded, verified and checked as over MQTT. Each side counts its processor time without
that of the pipe, after a small cohort that warms it up; the aggregator's process also tells its peak memory, in which
no device has a part. Letters come in batches of a few MB, and vectors are drawn when needed, so that long ones fit.
"""

import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from peers.measuring import peak_mb
from peers.without import WITHOUT
from secagg_case import (
    AGGREGATOR,
    BATCH,
    CONTEXT,
    END,
    ENROLMENT,
    EXPIRES,
    NOW,
    REVOCATIONS,
    ROLES,
    VALUES,
    WARM_UP,
    Case,
    Meter,
    sealed,
    taken,
)

from accord import prg
from accord.entropy import SeededEntropy
from accord.plan import STRICT
from accord.records import Record, RecordType
from accord.secagg import client, server
from accord.secagg.authority import Authority
from accord.secagg.cohort import assembled, new_roster, shown_to
from accord.secagg.confirming import Confirming
from accord.secagg.members import member_of
from accord.secagg.roster_tree import RosterTree
from accord.signing import SigningKey
from accord.update import packing
from accord.wire.envelope import NO_CONTEXT, Envelope
from accord.wire.messages import Certificate, opened
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


def measured(case: Case, *, without_cryptography: bool = False) -> dict[str, Any]:
    """Run both sides and return what they found.

    Args:
        case: the cohort.
        without_cryptography: whether the devices have PyNaCl alone.
    """
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    asked, fleets = spawn.Pipe(duplex=False)
    told, aggregators = spawn.Pipe(duplex=False)
    sides = [spawn.Process(target=aggregator, args=(case, here, aggregators))]
    sides[0].start()
    if without_cryptography:
        os.environ[WITHOUT] = "1"
    sides.append(spawn.Process(target=fleet, args=(case, there, fleets)))
    sides[1].start()
    os.environ.pop(WITHOUT, None)
    for end in (here, there, fleets, aggregators):  # so that a side that fails is an end of file
        end.close()
    found = told.recv() | asked.recv()
    for side in sides:
        side.join()
    return dict(found)


def batches(link: Connection) -> Iterator[list[bytes]]:
    """Yield the letters of one stage, a few MB at a time."""
    batch: list[bytes] = []
    for data in iter(link.recv_bytes, END):
        batch.append(data)
        if sum(map(len, batch)) > BATCH:
            yield batch
            batch = []
    yield batch


def aggregator(case: Case, link: Connection, tell: Connection) -> None:
    """Be the aggregator's process: tells its seconds, its peak memory and whether the sum is exact."""
    _summed(WARM_UP, link)
    tell.send(_summed(case, link))


def _summed(case: Case, link: Connection) -> dict[str, Any]:  # noqa: PLR0912 - stage after stage
    meter, authority = Meter(), Authority(roles=ROLES, revocations=REVOCATIONS, now=NOW)
    seal_pair = case.seal
    identities: dict[str, bytes] = {}
    members: list[Member] = []

    def down(message: Record, recipient: str, context: bytes) -> bytes:
        return sealed(message, AGGREGATOR, "aggregator", recipient, context)

    def opened_as(kind: type[RecordType], data: bytes) -> tuple[Envelope, RecordType]:
        letter = Envelope.decode(data)
        letter.check(identities[letter.sender])
        return letter, opened(letter, kind)

    for batch in batches(link):
        with meter.on():
            for data in batch:
                letter = Envelope.decode(data)
                join = opened(letter, Join)
                certificate = authority.certificate(join.certificate, letter.sender)
                letter.check(certificate.identity)
                members.append(member_of(letter, join, certificate))
                identities[letter.sender] = certificate.identity
    with meter.on():
        roster = new_roster("c", case.profile, members, case.graph)
        tree = RosterTree(roster)
        cohort = assembled(roster, CONTEXT, tree)
        sharing = server.Sharing(cohort, case.floor)
        if cohort.graph.complete:
            letters = [down(roster, "c", CONTEXT)] * case.clients
        else:
            letters = [down(shown_to(roster, cohort, tree, name), name, CONTEXT) for name in case.names]
    for data in letters:
        link.send_bytes(data)
    del letters, roster, tree, members  # as a coordinator lets go of what a stage was made of
    for batch in batches(link):
        with meter.on():
            for data in batch:
                letter, share = opened_as(Share, data)
                sharing.add(letter.sender, share)
    with meter.on():
        collecting, answers = sharing.close()
        letters = [down(answers[name], name, cohort.context) for name in case.names]
    for data in letters:
        link.send_bytes(data)
    del letters, answers, sharing
    for batch in batches(link):
        with meter.on():
            for data in batch:
                letter, update = opened_as(Masked, data)
                vector = packing.unpack(update.vector, case.size, case.bits)
                collecting.add(letter.sender, update, vector, letter.digest)
    with meter.on():
        unmasking, survivors = collecting.close()
        data = down(survivors, "c", cohort.context)
    for _ in unmasking.survivors:
        link.send_bytes(data)
    if case.profile == STRICT:
        confirming = Confirming(unmasking, survivors)
        for batch in batches(link):
            with meter.on():
                for data in batch:
                    letter, consistency = opened_as(Consistency, data)
                    confirming.add(letter.sender, consistency, letter.signature)
        with meter.on():
            unmasking, quorum = confirming.close()
            data = down(quorum, "c", cohort.context)
        for _ in unmasking.survivors:
            link.send_bytes(data)
    for batch in batches(link):
        with meter.on():
            for data in batch:
                letter, answer = opened_as(Unmask, data)
                unmasking.add(letter.sender, answer, seal_pair)
    with meter.on():
        total = unmasking.close(case.bits)
    peak = peak_mb()
    expected = np.frombuffer(link.recv_bytes(), np.uint32)
    return {"server_cpu_s": meter.seconds, "peak_rss_mb": peak, "exact": bool((total == expected).all())}


def fleet(case: Case, link: Connection, tell: Connection) -> None:
    """Be the devices' process, one device after the other: tells the mean of their seconds and bytes."""
    _sent(WARM_UP, link)
    tell.send(_sent(case, link))


def _sent(case: Case, link: Connection) -> dict[str, Any]:
    meter, names, rng = Meter(), case.names, np.random.default_rng(case.seed)
    identities = {name: SigningKey(rng.bytes(32)) for name in names}
    gone = set(rng.choice(names, round(case.clients * case.dropout), replace=False))
    seal_key = case.seal.public
    counted = {"up": 0, "down": 0, "vector": 0}
    authorities = {name: Authority(roles=ROLES, revocations=REVOCATIONS, now=NOW) for name in names}

    def up(name: str, message: Record, context: bytes) -> None:
        with meter.on():
            data = sealed(message, identities[name], name, "aggregator", context)
        counted["up"] += len(data)
        link.send_bytes(data)

    def received() -> bytes:
        data = link.recv_bytes()
        counted["down"] += len(data)
        return data

    joining = {}
    for serial, name in enumerate(names, 10_000):
        held = Certificate(device=name, identity=identities[name].public, serial=serial, expires=EXPIRES)
        certificate = sealed(held, ENROLMENT, "enrolment", name, NO_CONTEXT)
        with meter.on():
            joining[name] = client.Joining(
                name, identities[name], certificate, CONTEXT, SeededEntropy(rng.bytes(32)), suite=case.keys
            )
            data = joining[name].letter.encode()
        counted["up"] += len(data)
        link.send_bytes(data)
    link.send_bytes(END)
    rosters = {name: received() for name in names}
    sharing = {}
    for name, data in rosters.items():
        with meter.on():
            sharing[name] = joining[name].roster(
                opened(taken(data, AGGREGATOR.public), Roster),
                authorities[name],
                profile=case.profile,
                floor=case.floor,
                cap=case.clients,
                rule=case.graph,
            )
        up(name, sharing[name].message, sharing[name].cohort.context)
    link.send_bytes(END)
    dealt = {name: received() for name in names}
    waiting, total = {}, np.zeros(case.size, np.uint32)
    for name, data in dealt.items():
        with meter.on():
            masking = sharing[name].shares(opened(taken(data, AGGREGATOR.public), Shares))
        if name in gone:
            continue
        vector = rng.integers(0, VALUES, case.size, dtype=np.uint32)
        total += vector
        with meter.on():
            waiting[name], masked, dealers = masking.mask(vector, case.bits)
            message = Masked(dealers=dealers, vector=packing.pack(masked, case.bits))
        up(name, message, sharing[name].cohort.context)
        counted["vector"] = len(message.vector)
        counted["up"] -= len(message.vector)
    link.send_bytes(END)
    survivors, confirmed = {name: received() for name in waiting}, {}
    if case.profile == STRICT:
        for name, data in survivors.items():
            with meter.on():
                letter = opened(taken(data, AGGREGATOR.public), Survivors)
                confirmed[name], consistency = waiting[name].confirm(letter)
            up(name, consistency, sharing[name].cohort.context)
        link.send_bytes(END)
        survivors = {name: received() for name in waiting}
    for name, data in survivors.items():
        with meter.on():
            letter = taken(data, AGGREGATOR.public)
            if case.profile == STRICT:
                _, answer = confirmed[name].quorum(opened(letter, Quorum), seal_key)
            else:
                _, answer = waiting[name].survivors(opened(letter, Survivors), seal_key)
        up(name, answer, sharing[name].cohort.context)
    link.send_bytes(END)
    link.send_bytes((total & np.uint32((1 << case.bits) - 1)).tobytes())
    return {
        "client_cpu_s": meter.seconds / case.clients,
        "upload_bytes": counted["vector"],
        "control_bytes_up": counted["up"] / case.clients,
        "control_bytes_down": counted["down"] / case.clients,
        "prg_backend": prg.BACKEND,
    }
