"""The golden files hold under an implementation that shares no code with ours."""

import json
from typing import Any

import generate
import second_opinion as second
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from accord.wire.envelope import Envelope
from accord.wire.secure_sum import Masked, Roster, Unmask

HEX = bytes.fromhex
ZERO = bytes(12)


def vectors(name: str) -> Any:
    return json.loads((generate.FOLDER / f"{name}.json").read_text())["vectors"]


def test_derivations_and_trees() -> None:
    found = vectors("entropy")
    assert second.digest(b"abc").hex() == found["digest_of_abc"]
    assert second.kdf(b"\x07" * 32, ["use", 1]).hex() == found["kdf"]["key"]
    assert [second.root([bytes([at]) for at in range(n)]).hex() for n in range(6)] == found["roots"]


def test_keys() -> None:
    found = vectors("keys")
    context, a, b = HEX(found["context"]), found["a"], found["b"]
    assert second.public_of(HEX(a["secret"])).hex() == a["public"]
    secret = second.shared(HEX(a["secret"]), HEX(b["public"]))
    assert secret.hex() == found["shared"] == second.shared(HEX(b["secret"]), HEX(a["public"])).hex()
    publics = sorted((HEX(a["public"]), HEX(b["public"])))
    for case in found["directions"]:
        label = [case["label"], context, case["from"], case["to"], *publics]
        assert second.kdf(secret, label).hex() == case["key"]
    assert second.kdf(secret, ["pair", context, "a", "b", *publics]).hex() == found["pair_seed"]
    assert second.kdf(HEX(found["self"]["secret"]), ["self", context]).hex() == found["self"]["seed"]


def test_masks_and_packing() -> None:
    found = vectors("masks")
    for case in found["widths"]:
        bits, length = case["bits"], len(found["vector"])
        plus, minus = (second.mask(HEX(found[name]), length, bits) for name in ("seed", "minus_seed"))
        masked = [(v + p - m) % 2**bits for v, p, m in zip(found["vector"], plus, minus, strict=True)]
        assert masked == case["masked"]
        assert second.packed(masked, bits).hex() == case["packed"]
        assert second.keystream(HEX(found["seed"]), len(case["keystream"]) // 2).hex() == case["keystream"]
    for case in vectors("packing"):
        assert second.packed(case["values"], case["bits"]).hex() == case["packed"]


def test_a_quorum_is_what_the_page_says() -> None:
    """t = floor(2n/3) + 1 of four have signed what the golden file's survivors say, each under its own name."""
    found = vectors("cohort_strict")
    letters = [Envelope.decode(HEX(entry["data"])) for entry in found["entries"] if "data" in entry]
    quorum = next(letter for letter in letters if letter.tag == "quorum/1")
    survivors, signers = (bytes([bits]) for bits in (7, 7))
    signatures = [letter.signature for letter in letters if letter.tag == "consistency/1"]
    assert quorum.payload == second.cbor([survivors, signers, signatures])
    assert len(signatures) == found["t"] == 2 * 4 // 3 + 1
    for number, signature in enumerate(signatures):
        name = f"dev-{number:02d}"
        payload = second.digest(second.cbor([survivors]))
        covered = ["accord/1/consistency/1", name, "aggregator", HEX(found["ctx2"]), payload]
        identity = Ed25519PrivateKey.from_private_bytes(HEX(found["devices"][name]["identity"]))
        identity.public_key().verify(signature, second.cbor(covered))
    assert second.cbor(["accord/1/consistency/1", "dev-00", *covered[2:]]).hex() == found["covered"]


def test_deltas() -> None:
    found = vectors("deltas")
    for case in found["cases"]:
        fields = _octets(case["fields"])
        listed = [list(one.values()) for one in fields["advances"]]
        assert second.cbor(list((fields | {"advances": listed}).values())).hex() == case["delta"]
        assert second.stepped(HEX(found["base"]), found["tensors"], fields).hex() == case["result"]
    assert [len(case["fields"]["advances"]) for case in found["cases"]] == [1, 1, 3]


def _octets(value: Any) -> Any:
    """Return fields with their hexadecimal as bytes."""
    if isinstance(value, dict):
        return {name: _octets(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_octets(one) for one in value]
    return HEX(value) if isinstance(value, str) else value


def test_open_updates() -> None:
    found = vectors("sparse")
    for case in found["cases"]:
        values = [value - (value >> 31 << 32) for value in case["vector"][: sum(found["tensors"])]]
        assert values == second.laid(found["tensors"], case, 2**15 - 1)
        assert any(values)


def test_shares_and_seals() -> None:
    for case in vectors("shares"):
        for at in {0, 1 % case["n"], case["n"] - 1}:
            assert second.share(HEX(case["secret"]), HEX(case["coefficients"]), at).hex() == case["shares"][at]
        if case["n"] < 20:  # Lagrange by long multiplication takes seconds for 128 holders
            for opening in case["openings"]:
                held = {at: HEX(case["shares"][at]) for at in opening["holders"]}
                assert second.opened(held).hex() == case["secret"]
    found = vectors("seals")
    share = HEX(found["share"])
    halves = [second.digest(half)[:16].hex() for half in (share[:32], share[32:])]
    assert halves == found["half_hashes"]
    assert "".join(halves) == found["share_hash"]
    assert second.digest(share[:32]).hex() == found["commitment"]
    for case in found["sealed"]:
        assert ChaCha20Poly1305(HEX(case["key"])).encrypt(ZERO, share, None).hex() == case["sealed"]


def test_letters_and_contexts() -> None:
    found = vectors("messages")
    public = Ed25519PublicKey.from_public_bytes(HEX(found["public"]))
    for case in found["letters"]:
        payload, context, signature = (HEX(case[name]) for name in ("payload", "context", "signature"))
        named = [found["sender"], found["recipient"], context]
        public.verify(signature, second.cbor(["accord/1/" + case["tag"], *named, second.digest(payload)]))
        assert second.cbor([case["tag"], *named, payload, signature]).hex() == case["letter"]
    asked = vectors("plan")
    plan, fields = HEX(asked["plan"]), asked["fields"]
    digests = [HEX(fields[name]) for name in ("bundle_digest", "params_digest")]
    first = second.digest(second.cbor(["accord/1/ctx", plan, *digests]))
    root = second.root([HEX(member) for member in asked["members"]])
    assert (first.hex(), root.hex()) == (asked["ctx1"], asked["roster_root"])
    after = [first, asked["cohort"], len(asked["members"]), root, "standard", asked["k"], asked["t"]]
    assert second.digest(second.cbor(after)).hex() == asked["ctx2"]
    off = [first, asked["cohort"], 0, HEX(asked["empty_root"]), "off", 0, 0]
    assert second.digest(second.cbor(off)).hex() == asked["ctx2_off"]


def test_a_whole_cohort_from_its_secrets() -> None:
    found, context = vectors("cohort"), HEX(vectors("plan")["ctx2"])
    names, length = sorted(found["secrets"]), len(found["opened_sum"])
    secret = {(n, use): HEX(data) for n, uses in found["secrets"].items() for use, data in uses.items()}
    public = {key: second.public_of(data) for key, data in secret.items()}
    letters = {}
    for entry in found["entries"]:
        if "data" in entry:
            letter = Envelope.decode(HEX(entry["data"]))
            letters[letter.tag, letter.sender] = letter
    joins = {m.device: m for m in Roster.decode(letters["roster/4", "aggregator"].payload).members}
    seal_public = second.public_of(HEX(found["seal_secret"]))
    for name in names:
        identity = Ed25519PrivateKey.from_private_bytes(HEX(found["devices"][name]["identity"]))
        join = letters["join/2", name]
        ctx1 = HEX(vectors("plan")["ctx1"])
        covered = second.cbor(["accord/1/join/2", name, "aggregator", ctx1, second.digest(join.payload)])
        assert identity.sign(covered) == join.signature
        assert (joins[name].mask_key, joins[name].seal_key) == (public[name, "mask"], public[name, "seal"])
    for name in found["included"]:
        vector = found["plain_vectors"][name]
        own = second.mask(second.kdf(secret[name, "self"], ["self", context]), length, 20)
        vector = [(v + m) % 2**20 for v, m in zip(vector, own, strict=True)]
        for peer in names:
            if peer != name:
                ends = sorted((public[name, "mask"], public[peer, "mask"]))
                both = second.shared(secret[name, "mask"], public[peer, "mask"])
                seed = second.kdf(both, ["pair", context, *sorted((name, peer)), *ends])
                sign = -1 if name > peer else 1
                pair = second.mask(seed, length, 20)
                vector = [(v + sign * m) % 2**20 for v, m in zip(vector, pair, strict=True)]
        assert Masked.decode(letters["masked/1", name].payload).vector == second.packed(vector, 20)
        both = second.shared(secret[name, "seal"], seal_public)
        ends = sorted((public[name, "seal"], seal_public))
        key = second.kdf(both, ["unmask", context, name, "aggregator", *ends])
        sealed = Unmask.decode(letters["unmask/1", name].payload).sealed
        assert len(ChaCha20Poly1305(key).decrypt(ZERO, sealed, None)) == 32 * len(names)
    sums = zip(*(found["plain_vectors"][name] for name in found["included"]), strict=True)
    assert [sum(parts) % 2**20 for parts in sums] == found["opened_sum"]
