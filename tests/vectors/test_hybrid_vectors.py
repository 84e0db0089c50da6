"""Keys with ML-KEM: the code opens what the vectors seal, and FIPS 203 written anew finds the same keys."""

import json
from typing import Any

import fips203
import generate
import second_opinion as second

from accord.entropy import SeededEntropy
from accord.plan import HYBRID
from accord.secagg import entries, hybrid, kem, pair_secret, sealing

HEX = bytes.fromhex


def vectors() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((generate.FOLDER / "hybrid.json").read_text())["vectors"]
    return found


def test_the_higher_id_opens_what_the_lower_one_sent() -> None:
    found = vectors()
    one, other = (hybrid.pair_of(HEX(found[name]["secret"]), HYBRID) for name in ("a", "b"))
    assert (one.public.hex(), other.public.hex()) == (found["a"]["public"], found["b"]["public"])
    context, entry = HEX(found["context"]), HEX(found["entry"])
    assert len(entry) == entries.size(hybrid=True, upwards=True)
    offer = entries.offer_in(entry, hybrid=True, upwards=True)
    shown = pair_secret.taken(other, offer, context, "a", "b")
    assert shown.hex() == found["pair_secret"] == pair_secret.own(one.secret, context, "a", "b").hex()
    for pair, public in ((one, other.public), (other, one.public)):
        for ends in (("a", "b"), ("b", "a")):
            seed = pair_secret.seed(pair, public, (shown, offer), context=context, ends=ends)
            assert seed.hex() == found["pair_seed"]
    way = sealing.Direction(label="share", context=context, sender="a", recipient="b")
    share = sealing.opened(other, one.public, entry[len(offer) :], way, "a share", before=offer)
    assert share.hex() == found["share"]


def test_the_page_gives_the_same_keys() -> None:
    found = vectors()
    for name in ("a", "b"):
        secret = HEX(found[name]["secret"])
        scalar, d, z = (second.kdf(secret, label) for label in (["x25519", 0], ["mlkem768", 0], ["mlkem768", 1]))
        assert (second.public_of(scalar) + fips203.encapsulation_key(d + z)).hex() == found[name]["public"]
    context, a, b = HEX(found["context"]), HEX(found["a"]["secret"]), HEX(found["b"]["public"])
    shown = second.kdf(a, ["pq", context, "a", "b"])
    assert shown.hex() == found["pair_secret"]
    agreed = second.shared(second.kdf(a, ["x25519", 0]), b[:32])
    publics = sorted((HEX(found["a"]["public"]), b))
    label = ["pair", context, "a", "b", *publics, second.digest(HEX(found["entry"])[:1_088])]
    assert second.kdf(agreed + shown, label).hex() == found["pair_seed"]


def test_the_library_opens_what_fips_203_seals() -> None:
    draw = SeededEntropy(1)
    for _ in range(3):
        pair = kem.Decapsulator(draw(64))
        secret, ciphertext = fips203.encapsulated(pair.public, draw(32))
        assert pair.open(ciphertext) == secret
        assert pair.open(ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])) != secret
        fresh, other = kem.encapsulate(pair.public)
        assert pair.open(other) == fresh
