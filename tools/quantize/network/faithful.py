"""The last step: what was read gives the same outputs in onnxruntime as the model that came in."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from accord.entropy import SeededEntropy
from accord.errors import UsageError
from accord.runtimes.onnx import load_onnxruntime
from quantize.network.draft import IR_VERSION, OPSET
from quantize.network.network import Network

Array = npt.NDArray[Any]

ROWS = 3
TOLERANCE = 1e-3
"""Of the largest output: folding a normalisation moves the last bits of float32, a mistake more than them."""


def check_same(model: onnx.ModelProto, source: str, network: Network, traced: int) -> str:
    """Compare the network with the model on drawn rows; return a note, "" unless they could not be compared.

    Args:
        model: as the exporter wrote it.
        source: the name of its input.
        network: what was read; its output has the same name in the model.
        traced: rows that the model takes, 0 for any number.

    Raises:
        UsageError: an output differs.
    """
    x, output = network.draw(ROWS, SeededEntropy(0)), network.output
    found = _run(_graph(network), network.x, output, x)
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    del asked.graph.output[:]
    asked.graph.output.append(onnx.ValueInfoProto(name=output))
    kind = next(item.type.tensor_type.elem_type for item in asked.graph.input if item.name == source)
    rows = x.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    try:
        if traced:
            parts = [_run(asked, source, output, np.repeat(row[None], traced, axis=0)) for row in rows]
            expected = np.concatenate([part[:1] for part in parts])
        else:
            expected = _run(asked, source, output, rows)
    except Exception as error:  # noqa: BLE001 - onnxruntime's own errors share no base class
        return f"the model as it was exported does not run here, so nothing was compared with it: {str(error)[:160]}"
    peak = max(float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)), 1e-6)
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=0, atol=TOLERANCE * peak, equal_nan=True):
        raise UsageError(
            "the model gives other outputs once it is read than before, so it can't be trained as it is: "
            "export it with an open batch dimension, in inference mode, for opset 17 to 20"
        )
    return ""


def _run(model: onnx.ModelProto, source: str, output: str, x: Array) -> Array:
    runtime = load_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run([output], {source: x})[0])


def _graph(network: Network) -> onnx.ModelProto:
    helper = onnx.helper
    tensors: Mapping[str, Array] = {**network.constants, **network.params}
    graph = helper.make_graph(
        list(network.nodes),
        "read",
        [helper.make_tensor_value_info(network.x, network.x_type, ["N", *network.shapes[network.x][1:]])],
        [helper.make_tensor_value_info(network.output, TensorProto.FLOAT, ["N", network.outputs])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
