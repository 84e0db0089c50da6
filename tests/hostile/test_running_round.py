"""A round under attack: whatever else comes, each party says byte for byte what it would have said, or nothing more."""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import doors
import pytest
from doors import recording
from hostile_bytes import hostile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded_fleet import IDENTITIES, KEYS, NAMES, Aggregator, Entry, Party, reached, say
from taped import MASKED, STRANGER, again

from accord import cbor
from accord.wire.envelope import Envelope

HEX = bytes.fromhex
FREELY_TAKEN = {"opening/1", "check-in/4", "plan/7"}
"""Letters that come before anything binds a device to one of two attempts that the same aggregator signed."""


CHANGED = {"BadSignature", "BadMessage", "Foreign", "ForeignTopic", "NotOffered"}
"""How a letter with one changed field is refused: by its signature, or by its form or its sender before that."""


class Play:
    """The parties of a recording, who must say it again whatever is fed between its entries."""

    def __init__(self, name: str) -> None:
        self.entries = recording(name)
        profile = "standard" if name == "cohort" else "off"
        self.parties: dict[str, Party] = {
            who: reached(who, [], **({"profile": profile} if who == "aggregator" else {}))
            for who in ("aggregator", *NAMES)
        }
        self.said: dict[str, list[bytes]] = defaultdict(list)

    def steps(self) -> Iterator[tuple[str, Entry]]:
        """Yield who gets each entry; the honest entry is fed when the caller comes back."""
        for entry in self.entries:
            who = entry.get("to", "aggregator")
            if who in self.parties:
                yield who, entry
                sent, refused = say(self.parties[who], entry)
                assert refused == []
                self.said[who] += sent

    def lie(self, who: str, data: bytes, sender: str) -> tuple[list[bytes], list[str]]:
        """Feed something else; only what was said before may be said again, or `later` to a check-in that is late."""
        found = say(self.parties[who], {"from": sender, "to": who, "data": data.hex()})
        for answer in set(found[0]) - set(self.said[who]):
            letter = Envelope.decode(answer)
            assert (who, letter.tag) == ("aggregator", "later/1"), "a lie was answered by something new"
            assert not self.lie(letter.recipient, answer, who)[0]
        return found

    def ended_as_recorded(self) -> None:
        """Check that every party said what stands in the recording, and that the sum is closed."""
        for who in self.parties:
            recorded = [HEX(entry["data"]) for entry in self.entries if entry.get("from") == who]
            assert self.said[who][: len(recorded)] == recorded
            assert len(self.said[who]) - len(recorded) in (0, who == "dev-03")
        aggregator = self.parties["aggregator"]
        assert isinstance(aggregator, Aggregator)
        assert aggregator.closed is not None


def altered(item: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(item, bool):
        return not item
    if isinstance(item, int):
        return item + 1
    if isinstance(item, bytes):
        return bytes([item[0] ^ 1]) + item[1:] if item else b"\x00"
    if isinstance(item, str):
        return "a" if item != "a" else "b"
    return [altered(item[0]), *item[1:]] if item else [0]


def changes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (field, letter) with each field of the envelope and of its message changed in turn, not signed anew."""
    wire = cbor.decode(data, len(data))
    for at, name in enumerate(("tag", "sender", "recipient", "context", "payload", "signature")):
        yield name, cbor.encode([*wire[:at], altered(wire[at]), *wire[at + 1 :]])
    body = cbor.decode(wire[4], len(data))
    for at in range(len(body)):
        payload = cbor.encode([*body[:at], altered(body[at]), *body[at + 1 :]])
        yield f"{wire[0]}[{at}]", cbor.encode([*wire[:4], payload, wire[5]])


@pytest.mark.parametrize("name", ["cohort", "cohort_off"])
def test_no_signed_field_of_any_letter_can_be_changed(name: str) -> None:
    play, tried = Play(name), 0
    for who, entry in play.steps():
        for field, data in changes(HEX(entry["data"])) if "data" in entry else ():
            sent, refused = play.lie(who, data, entry["from"])
            assert not sent, field
            assert len(refused) == 1, field
            certificate = {"NotEnrolled"} if field == "check-in/4[7]" else set()
            assert refused[0] in CHANGED | certificate, (field, refused)
            tried += 1
    play.ended_as_recorded()
    assert tried > 300


@pytest.mark.parametrize("name", ["cohort", "cohort_off"])
def test_no_letter_of_another_key_is_taken(name: str) -> None:
    play = Play(name)
    keys = [STRANGER, KEYS.root, KEYS.enrolment, KEYS.publisher, KEYS.aggregator, *IDENTITIES.values()]
    for who, entry in play.steps():
        if "data" in entry:
            letter = Envelope.decode(HEX(entry["data"]))
            own = KEYS.aggregator if letter.sender == "aggregator" else IDENTITIES[letter.sender]
            for key in keys:
                if key.public != own.public:
                    sent, refused = play.lie(who, again(letter, key), entry["from"])
                    assert (sent, refused) == ([], ["BadSignature"])
    play.ended_as_recorded()


@pytest.mark.parametrize("name", ["cohort", "cohort_off"])
def test_replays_of_everything_change_nothing(name: str) -> None:
    play, other = Play(name), recording("cohort_off" if name == "cohort" else "cohort")
    foreign = [e for e in other if "data" in e and Envelope.decode(HEX(e["data"])).tag not in FREELY_TAKEN]
    past: list[Entry] = []
    for who, entry in play.steps():
        for old in past:
            to_many = Envelope.decode(HEX(old["data"])).recipient not in ("aggregator", *NAMES)
            if old["to"] == who or not to_many:  # what is for everybody may come earlier by another way
                play.lie(who, HEX(old["data"]), old["from"])
        for strange in foreign:
            sent, refused = play.lie(who, HEX(strange["data"]), strange["from"])
            assert not sent
            assert len(refused) == 1
        if "data" in entry:
            past.append(entry)
    play.ended_as_recorded()


def test_a_second_roster_is_refused_and_the_first_one_holds() -> None:
    play, letter = Play("cohort"), MASKED.find("roster/4", "dev-00")
    case = next(c for c in bad("RosterChanged") if c["about"] == "a second roster")
    after = MASKED.place("share/2", "dev-00")
    for place, (_, _) in enumerate(play.steps()):
        if place >= after:
            for name in NAMES:
                for data in (HEX(case["feed"][0]), letter.encode()):
                    sent, refused = play.lie(name, data, "aggregator")
                    assert not sent
                    assert refused[0] in {"RosterChanged", "OutOfOrder"}
    play.ended_as_recorded()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_noise_and_spoilt_letters_change_nothing(data: st.DataObject) -> None:
    play = Play(data.draw(st.sampled_from(["cohort", "cohort_off"])))
    for who, entry in play.steps():
        for _ in range(data.draw(st.integers(0, 2))):
            valid = HEX(entry["data"]) if "data" in entry else b"\x80"
            spoilt = data.draw(hostile(valid))
            sender = data.draw(st.sampled_from(NAMES))
            if spoilt != valid:
                sent, refused = play.lie(who, spoilt, sender)
                assert not sent
                assert len(refused) == 1
    play.ended_as_recorded()


def bad(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((doors.FOLDER / f"bad_{name}.json").read_text())
    return found


def lies(door: str) -> list[Any]:
    """Return (case, name) of every bad vector that is one letter in the masked recording, under the default state."""
    found = []
    for path in sorted(doors.FOLDER.glob("bad_*.json")):
        for case in json.loads(path.read_text()):
            plain = set(case["state"]) <= {"name", "after"} and case["state"].get("after", [""])[0] == "cohort"
            if case["door"] == door and plain and len(case["feed"]) == 1 and "standing" not in case["feed"][0]:
                name = path.stem.removeprefix("bad_")
                found.append(pytest.param(case, name, id=f"{name}-{case['about']}"))
    return found


@pytest.mark.parametrize(("case", "name"), lies("aggregator"))
def test_a_refused_letter_of_an_enrolled_device_leaves_the_round_as_it_was(case: dict[str, Any], name: str) -> None:
    entry, place = case["feed"][0], case["state"]["after"][1]
    if "time" in entry:
        return  # the end of a window, which is no lie
    play = Play("cohort")
    unmask = MASKED.place("unmask/1", "dev-00")
    asked = Envelope.decode(HEX(entry["data"])).tag if name != "BadMessage" else ""
    binding = asked == "unmask/1" and place == unmask and name in {"BadSeal", "WrongShape"}
    for at, (who, _) in enumerate(play.steps()):
        if at == place and not binding:
            assert play.lie("aggregator", HEX(entry["data"]), entry["from"]) == ([], [name]), who
    play.ended_as_recorded()


@pytest.mark.parametrize(("case", "name"), lies("device"))
def test_a_refused_letter_changes_nothing_or_ends_the_attempt_for_the_device(case: dict[str, Any], name: str) -> None:
    place = case["state"]["after"][1]
    entries = recording("cohort")
    party = reached("dev-00", entries[:place])
    lie = {"data": case["feed"][0]}
    assert say(party, lie) == ([], [name]) or name == "ResultContradicts"
    sent, refused = [], []
    for entry in entries[place:]:
        if entry.get("to") == "dev-00":
            found = say(party, entry)
            sent, refused = sent + found[0], refused + found[1]
    honest = [HEX(entry["data"]) for entry in entries[place:] if entry.get("from") == "dev-00"]
    if refused:
        assert not sent, "a device that was lied to within an attempt says nothing more in it"
        assert refused[0] in {"RosterChanged", "SharesChanged", "AnsweredBefore", "OutOfOrder", "OldRound"}
    else:
        assert sent == honest
