"""zlib against zstd: bytes of real open updates, of the digits benchmark's MLP 64-256-128-10.

A hundred devices hold rows dealt by Dirichlet 0.3. Five rounds of plain FedAvg bring the model to where it learns; then
each of 25 devices trains as in a round, and its change is encoded once with each compressor. Bytes are means
over the devices. The last line is one JSON object.
"""

import argparse
import dataclasses
import json

import numpy as np

from accord.entropy import SeededEntropy
from accord.plan import OFF, Fixed, Plan, modulus_bits
from accord.runtimes.reference import Reference, build
from accord.tensors import Vector
from accord.update import compression, tail
from accord.update.pipeline import Contribution, Form
from aggregator.supports import Supports
from aggregator.update_choice import UpdateChoice
from aggregator.update_plan import plan_of_size
from simulation import baselines, datasets
from simulation.partition import DeviceData, deal, parse_scheme

WAYS = ("topk:0.03:8", "topk:0.01:8", "topk:0.01:4", "topk:0.01:1", "ternary:0.01")
DEVICES, ROUNDS = 25, 5
TRAINING = baselines.Training(epochs=8, batch_size=32, learning_rate=0.2)


def changes(seed: int) -> tuple[Reference, list[tuple[int, Vector]]]:
    """Return the model, and the rows and the change of each device in one round."""
    entropy = SeededEntropy(seed)
    data = datasets.load("digits")
    dealt = deal(data.encode(data.task()), parse_scheme("dirichlet:0.3"), 100, entropy, kind="classification")
    devices = [device for device in baselines.standardised(dealt.devices) if len(device.y_train)]
    specification, params = build("mlp:256,128", (64,), 10, "softmax", entropy.child("model"), batch=32)
    model, rng = Reference(specification), np.random.default_rng(seed)
    for _ in range(ROUNDS):
        chosen = rng.choice(len(devices), DEVICES, replace=False)
        params = params + np.mean([change(model, params, devices[i], rng) for i in chosen], axis=0).astype(np.float32)
    chosen = rng.choice(len(devices), DEVICES, replace=False)
    return model, [(len(devices[i].y_train), change(model, params, devices[i], rng)) for i in chosen]


def change(model: Reference, params: Vector, device: DeviceData, rng: np.random.Generator) -> Vector:
    """Return what one device's training changes."""
    steps, size = baselines.Steps(model, params, TRAINING), TRAINING.batch_size
    for _ in range(TRAINING.epochs):
        order = rng.permutation(len(device.y_train))
        steps.take(device.x_train, device.y_train, [order[at : at + size] for at in range(0, len(order), size)])
    return steps.params - params


def plan(model: Reference, way: str, found: list[tuple[int, Vector]]) -> Plan:
    """Return a plan whose scales fit these changes."""
    layout = model.layout
    asked = Supports(UpdateChoice.parse(way), layout, [0] * len(layout.tensors)).next(bytes(32))
    largest = np.max([np.abs(vector) for _, vector in found], axis=0)
    parts = np.split(largest, np.cumsum(layout.sizes)[:-1])
    fixed = Fixed(
        value_bits=asked.bits,
        modulus_bits=modulus_bits(asked.bits, DEVICES),
        exponents=tuple(int(np.ceil(np.log2(max(1e-9, part.max())))) for part in parts),
        largest_weight=max(rows for rows, _ in found),
    )
    return plan_of_size(layout, asked.update, fixed, floor=3, cap=DEVICES, profile=OFF)


def measured(model: Reference, way: str, found: list[tuple[int, Vector]]) -> dict[str, float]:
    """Return the mean bytes of these changes with each compressor."""
    asked, sizes = plan(model, way, found), {}
    figures = {field.name: np.zeros(field.length) for field in tail.fields(asked.task)}
    for name in compression.here():
        update = dataclasses.replace(asked.update, compression=name)
        form = Form(dataclasses.replace(asked, update=update), model.layout)
        coded = [
            form.coded(Contribution(rows=rows, delta=vector, figures=figures), number.to_bytes(32, "little"))
            for number, (rows, vector) in enumerate(found)
        ]
        sizes[name] = round(float(np.mean([len(form.pack(one)) for one in coded])), 1)
    return sizes


def main() -> None:
    """Measure each way and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    arguments = parser.parse_args()
    model, found = changes(arguments.seed)
    result = {way: measured(model, way, found) for way in WAYS}
    for way, sizes in () if arguments.json else result.items():
        print(way, ", ".join(f"{name} {size:,.1f} bytes" for name, size in sizes.items()))
    print(json.dumps({"parameters": model.layout.size, "devices": DEVICES, "bytes": result}))


if __name__ == "__main__":
    main()
