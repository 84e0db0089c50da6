"""PyTorch's side: the same layers and weights as a module, SGD and cross entropy, one thread. Needs torch and numpy."""

# The dev environment has no torch, so its types are not known there.
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import report
from torch import nn


class LastState(nn.Module):  # type: ignore[misc]
    """A GRU's state after the last step, (N, hidden)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, batch_first=True)

    def forward(self, x: Any) -> Any:
        return self.gru(x)[1][0]


def gates(array: Any) -> Any:
    """Turn ONNX's order of gates (update, reset, new) into PyTorch's (reset, update, new)."""
    update, reset, new = np.split(array, 3)
    return torch.from_numpy(np.concatenate([reset, update, new]))


def module(layer: list[Any], weights: dict[str, Any]) -> Any:
    kind, name, *settings = layer
    plain = {"relu": nn.ReLU, "relu6": nn.ReLU6, "flatten": nn.Flatten}
    if kind in plain:
        return plain[kind]()
    if kind == "maxpool":
        return nn.MaxPool2d(2)
    if kind == "average":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    if kind == "gru":
        w, r, b = (weights[f"{name}.{part}"][0] for part in "wrb")
        found = LastState(w.shape[1], settings[0])
        with torch.no_grad():
            parts = (w, r, *np.split(b, 2))
            names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
            for target, value in zip(names, parts, strict=True):
                getattr(found.gru, target).copy_(gates(value))
        return found
    weight, bias = (torch.from_numpy(weights[f"{name}.{part}"]) for part in ("weight", "bias"))
    if kind == "dense":
        found, weight = nn.Linear(*weight.shape), weight.T
    else:
        stride, pad, group = settings
        channels = weight.shape[1] * group
        found = nn.Conv2d(channels, weight.shape[0], tuple(weight.shape[2:]), stride, pad, groups=group)
    with torch.no_grad():
        found.weight.copy_(weight)
        found.bias.copy_(bias)
    return found


def main() -> None:
    folder, steps, frozen = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    layers, trained = json.loads((folder / "layers.json").read_text())
    with np.load(folder / "weights.npz") as stored:
        weights = dict(stored)
    first = next(place for place, layer in enumerate(layers) if layer[1] in trained)
    before = nn.Sequential(*(module(layer, weights) for layer in layers[:first])).requires_grad_(requires_grad=False)
    behind = nn.Sequential(*(module(layer, weights) for layer in layers[first:]))
    x, y = (torch.from_numpy(np.load(folder / name)) for name in ("x.npy", "y.npy"))
    optimiser = torch.optim.SGD(behind.parameters(), lr=float((folder / "rate").read_text()))
    with torch.no_grad():
        features = before(x)

    def step() -> float:
        with torch.no_grad():
            rows = features if frozen == "cached" else before(x)
        optimiser.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(behind(rows), y)
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    report(step, steps, f"torch {torch.__version__}")


if __name__ == "__main__":
    main()
