"""Where hostile bytes come in: each door is brought to the state that a case describes, and fed.

A case is {"about", "door", "state", "feed"}: `door` names a function here, `state` holds its arguments, `feed` is what
comes in, one after another. The answer to the last one is the name of the refusal, or nothing.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from golden_numbers import DELTA_LAYOUT, LAYOUT
from recorded_fleet import CLOCK, KEYS, Aggregator, Device, Entry, contribution, reached, say, unfolded

from accord.bundle.archive import LIMIT, read_bundle
from accord.bundle.operators import check_operators
from accord.entropy import SeededEntropy
from accord.errors import CodecError, Refusal, SignatureError
from accord.link import Delivery
from accord.link.memory import MemoryBroker
from accord.plan import Plan
from accord.secagg.authority import Authority, trusted_roles
from accord.update.delta import apply
from accord.update.pipeline import Form
from accord.wire import chunks
from accord.wire.envelope import Envelope
from accord.wire.messages import Revocations, Roles, opened
from aggregator import coordinator_values as agg
from aggregator.audit.proof import AuditProof, check
from aggregator.transport import Transport
from edge_sdk import session_values as dev
from edge_sdk.agent import Agent
from edge_sdk.enrolment import Trust, given
from edge_sdk.saved import FILES, Saved

HEX = bytes.fromhex
FOLDER = Path(__file__).parent / "v1"


class Worker:
    """Does the recorded work, and keeps nothing."""

    def charge(self, ledger: dev.Ledger) -> None:
        """Write nothing."""

    def keep(self, name: str, data: bytes) -> None:
        """Write nothing."""

    def hold(self, model: bytes, led: bytes) -> None:
        """Write nothing."""

    def believe(self, roles: bytes) -> None:
        """Write nothing."""

    def forget(self, names: tuple[str, ...]) -> None:
        """Have nothing to delete."""

    def work(self, plan: Any, params: bytes) -> Any:
        """Return the recorded contribution."""
        return contribution("dev-00", 10)


def recording(name: str) -> list[Entry]:
    """Return the entries of a golden file, or none for the empty name."""
    return unfolded(json.loads((FOLDER / f"{name}.json").read_text())["vectors"]["entries"]) if name else []


def device(feed: list[str], *, name: str, after: tuple[str, int], **state: Any) -> list[str]:
    """Feed letters to one device that has taken its part of the first entries of a recording."""
    party = reached(name, recording(after[0])[: after[1]], **state)
    assert isinstance(party, Device)
    answers = [party.feed(HEX(data))[1] for data in feed]
    return answers[-1]


def aggregator(feed: list[Entry], *, after: tuple[str, int], **asked: Any) -> list[str]:
    """Feed entries to the coordinator after those of a recording."""
    party = reached("aggregator", recording(after[0])[: after[1]], **asked)
    answers = [say(party, entry)[1] for entry in feed]
    return answers[-1]


def transport(feed: list[dict[str, str]], *, after: tuple[str, int]) -> list[str]:
    """Feed deliveries to the aggregator's transport."""
    told: list[Any] = []
    party = reached("aggregator", recording(after[0])[: after[1]])
    assert isinstance(party, Aggregator)
    door = Transport(
        link=MemoryBroker("t", SeededEntropy(1)).connect("aggregator"),
        coordinator=party.coordinator,
        objects={},
        now=lambda: 0.0,
        clock=lambda: CLOCK,
        told=told.append,
    )
    for one in feed:
        told.clear()
        door.handle(Delivery(topic=one["topic"], payload=HEX(one["payload"])))
    return [notice.reason for notice in told if isinstance(notice, agg.Log)]


def agent(feed: list[dict[str, str]], *, largest_object: int) -> list[str]:
    """Feed deliveries to a device's agent."""
    told: list[Any] = []
    door = Agent(
        link=MemoryBroker("t", SeededEntropy(1)).connect("dev-00"),
        session=Device("dev-00").session,
        worker=Worker(),
        records=Worker(),
        job="j",
        largest_object=largest_object,
        told=told.append,
    )
    for one in feed:
        told.clear()
        door.handle(Delivery(topic=one["topic"], payload=HEX(one["payload"])))
    return [effect.reason for effect in told if isinstance(effect, dev.Refused)]


def _refused(step: Callable[[], Any]) -> list[str]:
    try:
        step()
    except Refusal as refusal:
        return [refusal.reason]
    return []


def bundle(feed: list[str], *, publisher: str = "", limit: int = LIMIT) -> list[str]:
    """Open a bundle."""
    return _refused(lambda: read_bundle(HEX(feed[0]), limit=limit, publisher=HEX(publisher) or None))


def graph(feed: list[str]) -> list[str]:
    """Look at the operators of a training graph."""
    return _refused(lambda: check_operators(HEX(feed[0])))


def roles(feed: list[str], *, tenant: str = "t", now: int = CLOCK, seen: int = 0) -> list[str]:
    """Check a roles document under the fleet's root."""
    return _refused(lambda: trusted_roles(HEX(feed[0]), KEYS.root.public, tenant, now=now, seen=seen))


def certificate(feed: list[str], *, device: str, now: int = CLOCK, revoked: tuple[int, ...] = ()) -> list[str]:
    """Check a certificate under the fleet's enrolment key."""
    found = opened(Envelope.decode(KEYS.roles()), Roles)
    authority = Authority(roles=found, revocations=Revocations(version=1, serials=tuple(revoked)), now=now)
    return _refused(lambda: authority.certificate(HEX(feed[0]), device))


def assembler(feed: list[str], *, manifest: str, limit: int = 1 << 20) -> list[str]:
    """Feed pieces to an assembler."""

    def step() -> None:
        parts = chunks.Assembler(chunks.Manifest.decode(HEX(manifest)), limit)
        for piece in feed:
            parts.add(chunks.Piece.decode(HEX(piece)))

    return _refused(step)


def delta(feed: list[str], *, base: str, wanted: str) -> list[str]:
    """Apply a delta to a version that a device holds."""
    return _refused(lambda: apply(HEX(base), HEX(feed[0]), DELTA_LAYOUT, HEX(wanted)))


def update(feed: list[str], *, plan: str) -> list[str]:
    """Read what a device sent in open mode."""
    return _refused(lambda: Form(Plan.decode(HEX(plan)), LAYOUT).unpack(HEX(feed[0])))


def proof(feed: list[str]) -> list[str]:
    """Check a proof of entries of the audit log under the fleet's root."""
    return _refused(lambda: check(AuditProof.decode(HEX(feed[0])), KEYS.root.public))


def resume(feed: list[str]) -> list[str]:
    """Find the files of an attempt after a restart, in the order in which they were written."""
    saved = Saved(**{name: FILES[name].decode(HEX(data)) for name, data in zip(FILES, feed, strict=False)})
    effects = Device("dev-00").session.resume(saved)
    return [effect.reason for effect in effects if isinstance(effect, dev.Refused)]


def restarted(feed: list[str], **files: str) -> list[str]:
    """Feed letters to a device that found these files of its attempt, by name, after a restart."""
    party = Device("dev-00")
    found = party.session.resume(Saved(**{name: FILES[name].decode(HEX(data)) for name, data in files.items()}))
    assert not any(isinstance(effect, dev.Refused) for effect in found)
    answers = [party.feed(HEX(data))[1] for data in feed]
    return answers[-1]


def enrolment(feed: list[str], *, asked: str, tenant: str = "t", now: int = CLOCK, **seen: int) -> list[str]:
    """Give an answer to a device that asked for a certificate; `seen` is what its ledger holds."""
    trust = Trust(tenant=tenant, device="pi-7", root=KEYS.root.public, now=now, ledger=dev.Ledger(**seen))
    try:
        return _refused(lambda: given(HEX(feed[0]), HEX(asked), "password", trust))
    except SignatureError:
        return ["BadSignature"]
    except CodecError:
        return ["BadMessage"]


DOORS: Mapping[str, Callable[..., list[str]]] = {
    "device": device,
    "aggregator": aggregator,
    "transport": transport,
    "agent": agent,
    "bundle": bundle,
    "graph": graph,
    "roles": roles,
    "certificate": certificate,
    "assembler": assembler,
    "delta": delta,
    "update": update,
    "proof": proof,
    "resume": resume,
    "restarted": restarted,
    "enrolment": enrolment,
}


def answer(case: dict[str, Any]) -> list[str]:
    """Return the names of the refusals with which a door answers the last thing that it is fed."""
    return DOORS[case["door"]](case["feed"], **case["state"])
