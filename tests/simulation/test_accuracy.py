"""The fleet reaches what plain float FedAvg reaches on the same rows: three seeds here, five in `make soak`."""

import dataclasses

import numpy as np

from accord.entropy import SeededEntropy
from accord.runtimes.reference import Reference, build
from simulation import baselines, datasets, simulate
from simulation.partition import deal, parse_scheme

OPTIONS = {"devices": 10, "partition": "dirichlet:0.3", "rounds": 30, "model": "mlp:32", "local_epochs": 5}


def fleet(seed: int) -> float:
    """Return the accuracy of the fleet's model, sums taken as in the protocol, without masks for speed."""
    history = simulate(
        "digits", batch_size=16, lr=0.05, seed=seed, secure_aggregation=False, update="dense:16", **OPTIONS
    )
    assert history.final.accuracy is not None
    return history.final.accuracy


def fedavg(seed: int) -> float:
    """Return the accuracy of float FedAvg on the same partition, inputs standardised over all rows."""
    entropy = SeededEntropy(seed)
    data = datasets.load("digits")
    task = data.task()
    dealt = deal(data.encode(task), parse_scheme("dirichlet:0.3"), 10, entropy, kind=task.kind)
    every = np.concatenate([d.x_train for d in dealt.devices])
    mean, deviation = every.mean(axis=0), np.maximum(every.std(axis=0), 1e-6)
    devices = [
        dataclasses.replace(d, x_train=(d.x_train - mean) / deviation, x_test=(d.x_test - mean) / deviation)
        for d in dealt.devices
    ]
    specification, params = build("mlp:32", (64,), 10, "softmax", entropy.child("model"), batch=16)
    curve = baselines.fedavg(
        Reference(specification),
        params,
        devices,
        kind=task.kind,
        training=baselines.Training(epochs=5, batch_size=16, learning_rate=0.05),
        rounds=30,
        devices_per_round=10,
        entropy=entropy,
    )
    assert curve.final.accuracy is not None
    return curve.final.accuracy


def test_the_fleet_is_within_half_a_point_of_float_fedavg() -> None:
    ours, theirs = (np.mean([run(seed) for seed in range(3)]) for run in (fleet, fedavg))
    assert abs(ours - theirs) < 0.005
    assert ours > 0.95
