"""Golden bytes of the vault: keys and what is derived from them, masks, shares, commitments and seals."""

from typing import Any

import numpy as np
from recorded_fleet import SEED

from accord import prg
from accord.plan import Graph
from accord.secagg import commitments, graph, keys, ring, shamir
from accord.update import packing

WIDTHS = (8, 12, 16, 20, 24, 32, 5, 18, 31)
"""Every width with a packing of its own, and some without."""
CONTEXT = SEED.child("ctx2")(32)


def _pairs() -> tuple[keys.KeyPair, keys.KeyPair]:
    return keys.new_pair(SEED.child("pair", 1)), keys.new_pair(SEED.child("pair", 2))


def derived_keys() -> Any:
    """Two key pairs, and every key that is derived from them; both ends agree and the directions differ."""
    one, other = _pairs()
    secret = SEED.child("self")(32)
    directions = []
    for label in ("share", "unmask", "update"):
        for sender, recipient in (("a", "b"), ("b", "a")):
            key = keys.direction_key(
                one, other.public, label=label, context=CONTEXT, sender=sender, recipient=recipient
            )
            directions.append({"label": label, "from": sender, "to": recipient, "key": key.hex()})
    return {
        "context": CONTEXT.hex(),
        "a": {"secret": one.secret.hex(), "public": one.public.hex()},
        "b": {"secret": other.secret.hex(), "public": other.public.hex()},
        "shared": one.shared(other.public).hex(),
        "directions": directions,
        "pair_seed": keys.pair_seed(one, other.public, context=CONTEXT, one="a", other="b").hex(),
        "self": {"secret": secret.hex(), "seed": keys.self_seed(secret, CONTEXT).hex()},
    }


def graphs() -> Any:
    """Sparse graphs: k and t by the rule, and the holders of every eighth member's shares."""
    cases = []
    for members, corrupt, dropout in ((40, 0, 50_000), (101, 100_000, 100_000), (300, 100_000, 300_000)):
        root = SEED.child("graph", members)(32)
        degree, threshold = graph.rule(members, Graph(complete_up_to=0, corrupt=corrupt, dropout=dropout))
        near = graph.Neighbourhoods(root, members, degree)
        cases.append(
            {
                "members": members,
                "corrupt": corrupt,
                "dropout": dropout,
                "root": root.hex(),
                "k": degree,
                "t": threshold,
                "holders": {str(position): list(near.around(position)) for position in range(0, members, 8)},
            }
        )
    return cases


def masks() -> Any:
    """One vector masked modulo 2^m for each width, and packed."""
    seed, minus = SEED.child("mask")(32), SEED.child("mask", "minus")(32)
    vector = np.arange(1, 8, dtype=np.uint32) * np.uint32(0x01020305)
    cases = []
    for bits in WIDTHS:
        masked = vector.copy()
        ring.add_masks(masked, [(seed, False)], bits)
        ring.add_masks(masked, [(minus, True)], bits)
        cases.append(
            {
                "bits": bits,
                "keystream": ring.mask(seed, vector.size, bits).tobytes().hex(),
                "masked": ring.reduced(masked, bits).tolist(),
                "packed": packing.pack(masked, bits).hex(),
            }
        )
    return {"seed": seed.hex(), "minus_seed": minus.hex(), "vector": vector.tolist(), "widths": cases}


def shares() -> Any:
    """Secrets split among n, and opened by some of those t that could."""
    cases = []
    for n, t, size in ((1, 1, 4), (3, 2, 64), (5, 3, 64), (12, 7, 64), (255, 128, 2)):
        draw = SEED.child("shamir", n)
        secret, coefficients = draw(size), draw.child("coefficients")((t - 1) * size)
        dealt = shamir.split(secret, n, t, lambda _size, drawn=coefficients: drawn)  # type: ignore[arg-type,misc]
        openings = []
        for holders in (list(range(t)), list(range(n - t, n)), list(range(n))[::2][:t]):
            if len(holders) == t:
                weights = shamir.lagrange([holders])
                (found,) = shamir.combine_all([holders], [dealt[at] for at in holders])
                openings.append({"holders": holders, "weights": weights.tobytes().hex(), "secret": found.hex()})
        cases.append(
            {
                "n": n,
                "t": t,
                "secret": secret.hex(),
                "coefficients": coefficients.hex(),
                "shares": [share.hex() for share in dealt],
                "openings": openings,
            }
        )
    return cases


def seals() -> Any:
    """A share, what its dealer commits to, and its sealed form in both directions."""
    one, other = _pairs()
    share = SEED.child("share")(64)
    sealed = []
    for sender, recipient in (("a", "b"), ("b", "a")):
        key = keys.direction_key(one, other.public, label="share", context=CONTEXT, sender=sender, recipient=recipient)
        sealed.append({"from": sender, "to": recipient, "key": key.hex(), "sealed": keys.lock(key, share).hex()})
    return {
        "share": share.hex(),
        "share_hash": commitments.share_hash(share).hex(),
        "half_hashes": [commitments.half_hash(share[:32]).hex(), commitments.half_hash(share[32:]).hex()],
        "commitment": prg.digest(share[:32]).hex(),
        "sealed": sealed,
    }
