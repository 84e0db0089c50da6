"""The plan: what one attempt of one round asks of every device of it. Holds no data and decides nothing.

A plan that could overflow its modulus, or that asks for a cohort of fewer than three, can't be built.
See docs/protocol.md, section 5.
"""

from accord.errors import CodecError, Refusal
from accord.records import Int, Many, Name, Nested, Octets, OneOf, Record, Sized, field
from accord.values import dataclass

SMALLEST_COHORT = 3
"""Two is always refused: each would learn the other's update."""
LARGEST_COHORT = 4_096
"""On a sparse graph; a complete one ends at 255, as shares are indexed by one byte (Shamir over GF(2^8))."""
MICRO = 1_000_000
"""Rates travel as integers in millionths: signed messages hold no floats."""
PICO = 10**12
"""Adam's epsilon is too small for millionths."""
OPTIMISERS = ("sgd", "nesterov", "adam", "adamw")
DEFAULT_GATE = 5_000
"""Millionths: half a point that an exported int8 model may lose."""
PURPOSES = ("train", "evaluate", "powers", "moments")
STANDARD, STRICT, OFF = PROFILES = ("standard", "strict", "off")
"""`strict`: a quorum signs the survivor set before anybody answers. `off`: no masks at all."""
OPEN = ("topk", "ternary")
"""Updates of which each device chooses the places itself: only without masks, as they say which ones its rows touch."""
UPDATES = ("dense", "block-score", "low-rank", *OPEN)
COMPRESSIONS = ("none", "zlib", "zstd")
CLASSIC, HYBRID = KEYS = ("x25519", "x25519+mlkem768")
"""Of devices and of the aggregator, in one attempt: against today's computers, and against quantum computers, too."""
X25519_KEY, HYBRID_KEY = 32, 32 + 1_184
"""Bytes of a public key."""
PUBLIC_KEY = Sized((X25519_KEY, HYBRID_KEY))


@dataclass(frozen=True, kw_only=True)
class Training(Record):
    """How a device trains: local passes over its rows, rates in millionths, `epsilon` in 10^-12.

    `learning_rate` is that of this round: the aggregator has followed the job's schedule. `momentum` belongs to `sgd`
    and `nesterov`, `beta1`, `beta2` and `epsilon` to `adam` and `adamw`.

    Raises:
        CodecError: a field is out of its range, `nesterov` has no momentum, or `adam` or `adamw` has one.
    """

    epochs: int = field(Int(0, 10_000))
    batch_size: int = field(Int(1, 65_536))
    learning_rate: int = field(Int(0, 1_000 * MICRO))
    momentum: int = field(Int(0, MICRO - 1))
    proximal: int = field(Int(0, 1_000 * MICRO))
    optimiser: str = field(OneOf(OPTIMISERS), "sgd")
    beta1: int = field(Int(0, MICRO - 1), 900_000)
    beta2: int = field(Int(0, MICRO - 1), 999_000)
    epsilon: int = field(Int(1, PICO), 10_000)
    weight_decay: int = field(Int(0, 1_000 * MICRO), 0)
    clip_norm: int = field(Int(0, 1_000_000 * MICRO), 0)
    warmup_steps: int = field(Int(0, 1_000_000), 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.optimiser == "nesterov" and not self.momentum:
            raise CodecError("optimiser nesterov without momentum is sgd: give a momentum, such as 0.9")
        if self.optimiser in ("adam", "adamw") and self.momentum:
            raise CodecError(f"momentum is for sgd and nesterov: leave it at 0 with {self.optimiser}, which has beta1")


@dataclass(frozen=True, kw_only=True)
class Fixed(Record):
    """The fixed-point form of an update.

    `exponents[i]` says that values of tensor i lie within ±2^e; `largest_weight` is the number of rows from which a
    device weighs no more.
    """

    value_bits: int = field(Int(2, 16))
    modulus_bits: int = field(Int(4, 32))
    exponents: tuple[int, ...] = field(Many(Int(-126, 128), 0, 4_096))
    largest_weight: int = field(Int(1, 2**31))


@dataclass(frozen=True, kw_only=True)
class Graph(Record):
    """Who masks with whom: everyone with everyone in a cohort of up to `complete_up_to`, else each with a few.

    How many follows from the roster's size and two shares in millionths: of devices that are `corrupt`, and of those
    that may drop out between ROSTER and UNMASK. See `accord.secagg.graph`.
    """

    complete_up_to: int = field(Int(0, 255), 100)
    corrupt: int = field(Int(0, MICRO // 2 - 1), 100_000)
    dropout: int = field(Int(0, MICRO - 1), 100_000)


@dataclass(frozen=True, kw_only=True)
class Task(Record):
    """What the model predicts.

    Regression targets deviate by the order of 2^`target_exponent` in original units; `transform` is applied to them
    before training and undone before figures are taken. Where `gate` is not 0, test rows are evaluated by the exported
    int8 model too, which may be worse than the one in training by that many millionths: of the rows that are right, or
    for regression of the squared error in the model's units.
    """

    kind: str = field(OneOf(("classification", "binary", "regression")))
    outputs: int = field(Int(1, 65_536))
    target_exponent: int = field(Int(-126, 128))
    transform: str = field(OneOf(("none", "log", "log1p")))
    gate: int = field(Int(0, MICRO), 0)


@dataclass(frozen=True, kw_only=True)
class Update(Record):
    """Which numbers of a change a device of the cohort sends; `accord.update.support` says how they are chosen.

    `dense` sends all. `block-score` cuts the change in blocks of `block` parameters and sends those that the support
    names, a `share` of all in millionths, and a score for each block in steps of 2^`score_exponent`. `low-rank` sends
    each matrix in a basis of `rank` vectors, which is the support. `feedback` bounds what a device keeps of the rest,
    its residual: a norm of at most so many times that of the round's change; with 0 it keeps and adds none, and drops
    what it has. `line` is the version of the model that the last rollback has made, or 0: a residual of another line is
    of training that was taken back.

    In open mode a device sends the largest values of its own choice, a `share` of all in millionths: `topk` in `bits`
    of 8, 4 or 1, with a scale for each tensor, `ternary` as signs with one scale; with `compression` of places and
    values.

    Raises:
        CodecError: a field is out of its range, or belongs to another kind.
    """

    kind: str = field(OneOf(UPDATES), "dense")
    block: int = field(Int(0, 4_096), 0)
    share: int = field(Int(0, MICRO), 0)
    rank: int = field(Int(0, 256), 0)
    feedback: int = field(Int(0, 1_000), 0)
    score_exponent: int = field(Int(-126, 128), 0)
    support_digest: bytes = field(Octets(0, 32), b"")
    bits: int = field(Int(0, 8), 0)
    compression: str = field(OneOf(COMPRESSIONS), "none")
    line: int = field(Int(0, 2**32), 0)

    @property
    def open(self) -> bool:
        """Whether each device chooses the places itself."""
        return self.kind in OPEN

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits not in {"topk": (8, 4, 1), "ternary": (1,)}.get(self.kind, (0,)):
            raise CodecError(f"an update of kind {self.kind} has no values of {self.bits} bits")
        if self.open is (self.compression == "none"):
            raise CodecError(f"an update of kind {self.kind} is not compressed with {self.compression}")
        used = {
            "dense": (False, False, False, False),
            "block-score": (True, True, False, True),
            "low-rank": (False, False, True, True),
            "topk": (False, True, False, False),
            "ternary": (False, True, False, False),
        }[self.kind]
        if (self.block > 0, self.share > 0, self.rank > 0, len(self.support_digest) == 32) != used:
            raise CodecError(f"an update of kind {self.kind} has not the numbers of that kind")
        if (self.kind == "dense" and self.feedback) or (self.kind != "block-score" and self.score_exponent):
            raise CodecError(f"an update of kind {self.kind} leaves nothing to feed back or to score")
        if self.line and not self.feedback:
            raise CodecError(f"an update of kind {self.kind} that feeds nothing back is of no line")


@dataclass(frozen=True, kw_only=True)
class Plan(Record):
    """One attempt of one round; the same bytes for every device of it.

    Raises:
        CodecError: a field is out of its range, the sum of `cohort_cap` updates could wrap around, profile `strict` is
            asked for where the graph would be sparse, or the seal key is not of the kind that `keys` names.
        Refusal: `OpenUpdate`, an update of open mode is asked for with masks.
    """

    tenant: str = field(Name())
    job: str = field(Name())
    round: int = field(Int(1, 2**32))
    attempt: int = field(Int(1, 1_000))
    purpose: str = field(OneOf(PURPOSES))
    base_version: int = field(Int(0, 2**32))
    bundle_digest: bytes = field(Octets(32))
    params_digest: bytes = field(Octets(32))
    previous: bytes = field(Octets(32))
    checkpoint: bytes = field(Octets(1, 4_096))
    roles_version: int = field(Int(1, 2**32))
    revocations_digest: bytes = field(Octets(32))
    seal_key: bytes = field(PUBLIC_KEY)
    profile: str = field(OneOf(PROFILES))
    cohort_floor: int = field(Int(SMALLEST_COHORT, LARGEST_COHORT))
    cohort_cap: int = field(Int(SMALLEST_COHORT, LARGEST_COHORT))
    training: Training = field(Nested(Training))
    fixed: Fixed = field(Nested(Fixed))
    task: Task = field(Nested(Task))
    length: int = field(Int(0, 2**28))
    expires: int = field(Int(0, 2**48))
    graph: Graph = field(Nested(Graph), Graph())
    update: Update = field(Nested(Update), Update())
    keys: str = field(OneOf(KEYS), CLASSIC)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cohort_cap < self.cohort_floor:
            raise CodecError(f"a cohort of {self.cohort_floor} to {self.cohort_cap} devices can't be formed")
        if self.profile == STRICT and self.cohort_cap > self.graph.complete_up_to:
            raise CodecError(
                f"profile strict needs a complete graph, which ends at {self.graph.complete_up_to} members: a cohort "
                f"of up to {self.cohort_cap} can't have it"
            )
        if self.update.open and self.profile != OFF:
            raise Refusal(
                "OpenUpdate",
                f"an update of kind {self.update.kind} is chosen by each device, which masks can't add up and would "
                f"not hide: profile {self.profile} can't have it",
            )
        if (len(self.seal_key) == HYBRID_KEY) != (self.keys == HYBRID):
            raise CodecError(f"a seal key of {len(self.seal_key)} bytes is none of {self.keys}")
        if self.update.kind != "dense" and self.purpose != "train":
            raise CodecError(f"only a change of the model has an update of kind {self.update.kind}")
        needed = self.fixed.value_bits + (self.cohort_cap - 1).bit_length()
        if self.fixed.modulus_bits < needed:
            raise CodecError(
                f"{self.cohort_cap} values of {self.fixed.value_bits} bits can overflow a modulus of "
                f"{self.fixed.modulus_bits} bits: {needed} are needed",
            )


def modulus_bits(value_bits: int, cohort_cap: int) -> int:
    """Return the narrowest modulus, 4 to 32 bits, that can't overflow; every width is packed without gaps.

    n signed values of at most 2^(b-1)-1 sum to less than 2^(m-1), and n unsigned limbs of at most 2^b-1 to less than
    2^m, whenever m >= b + ceil(log2 n).

    Raises:
        CodecError: not even 32 bits are enough.
    """
    needed = value_bits + (cohort_cap - 1).bit_length()
    if needed > 32:
        raise CodecError(f"{cohort_cap} values of {value_bits} bits need a modulus of {needed} bits: 32 are the most")
    return max(4, needed)
