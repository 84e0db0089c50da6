"""onnxruntime-training's side: artefacts made from the same ONNX model, its SGD and cross entropy, one thread.

The last release imports PyTorch without using it here; an empty module stands in for it, so memory is a best case.
"""

import importlib.machinery
import json
import sys
import types
from pathlib import Path
from typing import Any, ClassVar


def without_torch() -> None:
    """Let `import torch` succeed with nothing inside; any name that is asked for is an empty class."""

    class Anything(type):
        def __getattr__(cls, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return Anything(name, (), {})

    class Empty(types.ModuleType):
        __path__: ClassVar[list[str]] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(Anything("torch", (), {}), name)

    for name in ("torch", "torch.utils", "torch.utils.cpp_extension", "torch.onnx", "torch.nn", "torch.utils.dlpack"):
        sys.modules[name] = Empty(name)
        sys.modules[name].__spec__ = importlib.machinery.ModuleSpec(name, None)
        if "." in name:
            setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], sys.modules[name])


def artefacts(folder: Path, trained: list[str]) -> None:
    """Write training model, optimiser and checkpoint; in a process of its own, so that onnx is no part of the peak."""
    import onnx  # noqa: PLC0415 - only here
    from onnxruntime.training import artifacts  # noqa: PLC0415 - after the stand-in

    model = onnx.load(folder / "model.onnx")
    names = [tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    wanted = [name for name in names if name.rsplit(".", 1)[0] in trained and "." in name]
    artifacts.generate_artifacts(
        model,
        requires_grad=wanted,
        frozen_params=[name for name in names if name not in wanted],
        loss=artifacts.LossType.CrossEntropyLoss,
        optimizer=artifacts.OptimType.SGD,
        artifact_directory=str(folder / "artefacts"),
    )


def main() -> None:
    folder, steps, frozen = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    without_torch()
    if frozen == "cached":
        sys.exit("onnxruntime-training takes no cached features here: compare with torch")
    if len(sys.argv) > 4:
        artefacts(folder, json.loads((folder / "layers.json").read_text())[1])
        return
    if not (folder / "artefacts").exists():
        import subprocess  # noqa: PLC0415 - only in the first process

        (folder / "artefacts").mkdir()
        subprocess.run([sys.executable, *sys.argv, "make"], check=True)
    import numpy as np  # noqa: PLC0415 - after the artefacts are made
    import onnxruntime  # noqa: PLC0415 - after the stand-in
    from measuring import report  # noqa: PLC0415 - the same
    from onnxruntime.training import api  # noqa: PLC0415 - the same

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    home = folder / "artefacts"
    state = api.CheckpointState.load_checkpoint(str(home / "checkpoint"))
    module = api.Module(
        str(home / "training_model.onnx"), state, str(home / "eval_model.onnx"), "cpu", session_options=options
    )
    optimiser = api.Optimizer(str(home / "optimizer_model.onnx"), module)
    optimiser.set_learning_rate(float((folder / "rate").read_text()))
    module.train()
    x, y = np.load(folder / "x.npy"), np.load(folder / "y.npy")

    def step() -> float:
        loss = module(x, y)
        optimiser.step()
        module.lazy_reset_grad()
        return float(loss)

    report(step, steps, f"onnxruntime-training {onnxruntime.__version__}")


if __name__ == "__main__":
    main()
