"""The optimiser that a plan asks for. Holds no rule of its own."""

from typing import Any

from accord.optimisers.adam import Adam
from accord.optimisers.descent import Sgd
from accord.optimisers.flat import FlatOptimiser
from accord.plan import MICRO, PICO, Training
from accord.tensors import Vector


def optimiser_of(training: Training, anchor: Vector) -> FlatOptimiser:
    """Return a new optimiser for one round.

    Args:
        training: of the round's plan.
        anchor: the round's model, float32 (P,).
    """
    shared: dict[str, Any] = {
        "learning_rate": training.learning_rate / MICRO,
        "proximal": training.proximal / MICRO,
        "weight_decay": training.weight_decay / MICRO,
        "clip_norm": training.clip_norm / MICRO,
        "warmup_steps": training.warmup_steps,
    }
    if training.optimiser in ("adam", "adamw"):
        return Adam(
            anchor,
            beta1=training.beta1 / MICRO,
            beta2=training.beta2 / MICRO,
            epsilon=training.epsilon / PICO,
            decoupled=training.optimiser == "adamw",
            **shared,
        )
    return Sgd(anchor, momentum=training.momentum / MICRO, nesterov=training.optimiser == "nesterov", **shared)
