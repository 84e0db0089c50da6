"""What each way to send a change would cost on a link, for one model: bytes from vectors that are really encoded.

Nobody has trained yet, so the changes are drawn: Laplace's distribution has as many large values as a net's changes do.
Sizes without masks depend on that, and so do the deltas of the way down; all others are exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from accord.errors import UsageError
from accord.plan import MICRO, OFF, Fixed, Plan, Task, Training, Update, modulus_bits
from accord.prg import NONCE_SIZE, kdf, keystream
from accord.secagg.costs import cost, unmasked_cost
from accord.secagg.planner import AUTO, FLEET_FLOOR, Choice, Question, propose
from accord.tensors import Layout, Vector
from accord.update import delta, tail
from accord.update.advance import Advance
from accord.update.pipeline import Contribution, Form
from accord.update.snapshot import Snapshot, unscaled
from aggregator.releases import Releases
from aggregator.supports import WARM_UP, Asked, Supports
from aggregator.update_choice import DEFAULT, UpdateChoice
from aggregator.way_down import way_down

WAYS = ("dense:16", "dense:8", "block-score:0.1:8", "low-rank:16:4", "low-rank:8:4", "low-rank:4:4")
OPEN_WAYS = ("topk:0.01:8", "topk:0.01:4", "topk:0.01:1", "ternary:0.01")
FLOAT32 = 4
_SEED = bytes(32)
_SPREAD = 1e-3
"""Of a drawn change; sizes do not follow from it, as scales do."""
_TASK = Task(kind="classification", outputs=1, target_exponent=0, transform="none")


@dataclass(frozen=True, kw_only=True)
class Link:
    """A device's link, in bits per second."""

    up: float
    down: float


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way: of each device in a round, and of each device that follows the model by one version.

    Where the sides of matrices take turns, it is the mean of a round of either side.
    """

    update: str
    default: bool
    open: bool
    released_as: str  # what a release says that it changed, one of `way_down.REASONS`
    sent_as: str  # which may be another one, where a support would not pay
    payload_bytes_up: int
    payload_bytes_down: int
    control_bytes_up: int
    control_bytes_down: int
    largest_update: int  # bytes of the largest vector: a device's own limit has to allow it
    bytes_per_param_up: float
    ratio_to_float32: float
    seconds_up: float
    seconds_down: float


@dataclass(frozen=True, kw_only=True)
class _Round:
    """Bytes of one round, by the names of `Option`."""

    up: int
    largest: int
    down: int
    control_up: int
    control_down: int
    released_as: str
    sent_as: str


class UpdatePlan:
    """The options for one model.

    Args:
        layout: the model's trainable tensors.
        params: the model to start from, float32 of shape (P,).
        exponents: its first scales.
        devices: in one round.
        link: of each.

    Raises:
        UsageError: so many devices can't be summed.
    """

    def __init__(self, layout: Layout, params: Vector, exponents: Sequence[int], devices: int, link: Link) -> None:
        self._layout, self._params, self._exponents, self._link = layout, params, exponents, link
        self._devices = devices
        preset = "fleet" if devices >= FLEET_FLOOR else "sites"
        cohorts = -(-devices // Question.largest)
        self.choice: Choice = propose(Question(devices=-(-devices // cohorts), preset=preset), AUTO).choice

    def option(self, text: str) -> Option:
        """Return what one way costs.

        Raises:
            UsageError: it is none.
        """
        choice = UpdateChoice.parse(text)
        supports = Supports(choice, self._layout, self._exponents)
        rounds = [self._round(asked, supports) for asked in self._asked(choice, supports)]
        first = rounds[0]
        up, down, control_up, control_down = (
            -(-sum(sizes) // len(rounds))
            for sizes in zip(*((one.up, one.down, one.control_up, one.control_down) for one in rounds), strict=True)
        )
        return Option(
            update=text,
            default=text == DEFAULT,
            open=choice.open,
            released_as=first.released_as,
            sent_as=first.sent_as,
            payload_bytes_up=up,
            payload_bytes_down=down,
            control_bytes_up=control_up,
            control_bytes_down=control_down,
            largest_update=max(one.largest for one in rounds),
            bytes_per_param_up=round(up / self._layout.size, 5),
            ratio_to_float32=round(FLOAT32 * self._layout.size / up, 1),
            seconds_up=round(8 * (up + control_up) / self._link.up, 2),
            seconds_down=round(8 * (down + control_down) / self._link.down, 2),
        )

    def _asked(self, choice: UpdateChoice, supports: Supports) -> list[Asked]:
        """Return what the rounds ask for that all later ones are like: one, or one of either side."""
        asked = [supports.next(_SEED)]
        scored = choice.kind == "block-score"  # its first rounds are dense
        for _ in range(WARM_UP if scored else int(asked[0].update.kind == "low-rank")):
            nothing = np.zeros(supports.sent(asked[-1]), np.float32)
            supports.took(asked[-1], nothing, nothing[:0], included=self._devices, devices=self._devices)
            asked.append(supports.next(_SEED))
        return asked[-1:] if scored else asked

    def _round(self, asked: Asked, supports: Supports) -> _Round:
        cap, openly = self.choice.cap, asked.update.open
        fixed = Fixed(
            value_bits=asked.bits,
            modulus_bits=modulus_bits(asked.bits, cap),
            exponents=tuple(self._exponents),
            largest_weight=1,
        )
        profile = OFF if openly else self.choice.question.profile
        plan = plan_of_size(self._layout, asked.update, fixed, floor=self.choice.floor, cap=cap, profile=profile)
        form = Form(plan, self._layout, asked.support)
        up = len(form.pack(form.coded(self._found(), kdf(_SEED, b"rounding")))) if openly else form.largest
        down, released_as = self._down(asked, supports)
        costs = unmasked_cost(up) if openly else cost(self.choice, form.length)
        return _Round(
            up=up,
            largest=form.largest,
            down=down,
            control_up=costs.up,
            control_down=costs.down + len(asked.support),
            released_as=released_as,
            sent_as=f"{asked.update.kind}, {asked.update.bits or asked.bits} bits",
        )

    def _found(self) -> Contribution:
        figures: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = {
            field.name: np.zeros(field.length) for field in tail.fields(_TASK)
        }
        return Contribution(rows=1, delta=_drawn(b"change", self._layout.size), figures=figures)

    def _down(self, asked: Asked, supports: Supports) -> tuple[int, str]:
        """Return the bytes from one release to the next one, by a delta or a snapshot, and which way that is."""
        coordinates = supports.coordinates(asked)
        size, share = sum(coordinates.spans), 1.0
        if asked.update.open:  # the devices' choices fall on different places, in the worst case
            share = 1 - (1 - asked.update.share / MICRO) ** self._devices
        releases, before, after = Releases(self._layout), self._params, self._params
        found: Advance | None = None
        for use in (b"one", b"two"):
            change = _drawn(use, size) * (_uniform(use + b"places", size) < share)
            before = after
            after, found = releases.after(before, change, coordinates)
        first, second = (Snapshot(params=params, scaling=unscaled(1)).encode() for params in (before, after))
        led = None if found is None else delta.along(first, second, (found,), self._layout)
        return (len(second), "snapshot") if led is None else (len(led), way_down(found, self._layout))


def plan_of_size(layout: Layout, update: Update, fixed: Fixed, *, floor: int, cap: int, profile: str) -> Plan:
    """Return a plan of a round that sends this; of who asks for it and of the model nothing counts but its size."""
    nobody = bytes(32)
    return Plan(
        tenant="t",
        job="j",
        round=1,
        attempt=1,
        purpose="train",
        base_version=0,
        bundle_digest=nobody,
        params_digest=nobody,
        previous=nobody,
        checkpoint=b"\x00",
        roles_version=1,
        revocations_digest=nobody,
        seal_key=nobody,
        profile=profile,
        cohort_floor=floor,
        cohort_cap=cap,
        training=Training(epochs=1, batch_size=1, learning_rate=0, momentum=0, proximal=0),
        fixed=fixed,
        task=_TASK,
        length=layout.size,
        expires=0,
        update=update,
    )


def _uniform(use: bytes, size: int) -> Vector:
    drawn = np.frombuffer(keystream(kdf(_SEED, use), bytes(NONCE_SIZE), 4 * size), "<u4")
    return ((drawn + np.float64(0.5)) / 2**32).astype(np.float32)


def _drawn(use: bytes, size: int) -> Vector:
    """Return a change by Laplace's distribution, float32 of shape (size,)."""
    drawn = _uniform(use, size).astype(np.float64) - 0.5
    return (-_SPREAD * np.sign(drawn) * np.log1p(-2 * np.abs(drawn) + 1e-9)).astype(np.float32)


def bits_per_second(text: str) -> float:
    """Return a link's speed from words such as `64kbit/s`, `1.5Mbit/s` or `300bit/s`.

    Raises:
        UsageError: it is none.
    """
    for ending, factor in (("kbit/s", 1e3), ("Mbit/s", 1e6), ("Gbit/s", 1e9), ("bit/s", 1.0)):
        if text.endswith(ending):
            try:
                speed = float(text.removesuffix(ending)) * factor
            except ValueError:
                break
            if 0 < speed < 1e15:
                return speed
    raise UsageError(
        f"{text!r} is no speed: write a number of bit/s, kbit/s, Mbit/s or Gbit/s, such as 64kbit/s or 1.5Mbit/s; a "
        "byte is 8 bits, so 1 MB/s is 8Mbit/s"
    )
