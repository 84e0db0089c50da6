"""Golden bytes of keys with ML-KEM: pairs, an offer and what it gives, and a sealed share.

Encapsulation in the code takes no randomness from its caller, so ciphertexts here are made by `fips203`.
"""

from typing import Any

import fips203
from golden_secrets import CONTEXT
from recorded_fleet import SEED

from accord import cbor, prg
from accord.plan import HYBRID
from accord.secagg import hybrid, keys, pair_secret


def hybrid_keys() -> Any:
    """Two pairs of X25519 and ML-KEM-768, an offer from a to b, the seed of their mask, and a share sealed to b."""
    one, other = (hybrid.pair_of(SEED.child("hybrid", name)(32), HYBRID) for name in ("a", "b"))
    drawn, share = SEED.child("encapsulation"), SEED.child("share")(64)
    (first, offered), (second, sealing) = (
        fips203.encapsulated(hybrid.parts(other.public)[1], drawn(32)) for _ in range(2)
    )
    shown = pair_secret.own(one.secret, CONTEXT, "a", "b")
    veil = prg.kdf(first, cbor.encode(["pq veil", CONTEXT, "a", "b"]))
    offer = offered + bytes(x ^ y for x, y in zip(shown, veil, strict=True)) + prg.digest(shown)
    publics = sorted((one.public, other.public))
    label = ["share", CONTEXT, "a", "b", *publics, prg.digest(offer + sealing)]
    key = prg.kdf(one.shared(other.public) + second, cbor.encode(label))
    seed = pair_secret.seed(one, other.public, (shown, offer), context=CONTEXT, ends=("a", "b"))
    return {
        "context": CONTEXT.hex(),
        "a": {"secret": one.secret.hex(), "public": one.public.hex()},
        "b": {"secret": other.secret.hex(), "public": other.public.hex()},
        "pair_secret": shown.hex(),
        "pair_seed": seed.hex(),
        "share": share.hex(),
        "key": key.hex(),
        "entry": (offer + sealing + keys.lock(key, share)).hex(),
    }
