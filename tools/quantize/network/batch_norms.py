"""BatchNormalization behind a Conv, ConvTranspose or Gemm, folded into its weights: the same function, fewer nodes."""

import numpy as np
import onnx

from quantize.network.draft import Draft

_AXIS = {"Conv": 0, "ConvTranspose": 1}


def fold_batch_norms(draft: Draft) -> None:
    """Fold every BatchNormalization whose input comes from a layer of its own.

    With r = scale/sqrt(var + eps), W becomes W·r along the layer's outputs and b becomes (b - mean)·r + B, under the
    names of the layer's weights; a layer without bias takes the normalisation's.
    """
    makers = {name: node for node in draft.nodes for name in node.output}
    for node in list(draft.nodes):
        if node.op_type != "BatchNormalization" or not all(name in draft.constants for name in node.input[1:]):
            continue
        layer = makers.get(node.input[0])
        if layer is not None and len(draft.readers(node.input[0])) == 1 and _fits(draft, layer):
            _fold(draft, layer, node)


def _fits(draft: Draft, layer: onnx.NodeProto) -> bool:
    weights = [name for name in layer.input[1:] if name]
    alone = all(name in draft.constants and len(draft.readers(name)) == 1 for name in weights)
    plain = {item.name: onnx.helper.get_attribute_value(item) for item in layer.attribute}
    if layer.op_type == "Gemm":
        return alone and plain.get("alpha", 1.0) == 1.0 and plain.get("beta", 1.0) == 1.0
    if layer.op_type == "ConvTranspose":
        return alone and plain.get("group", 1) == 1
    return alone and layer.op_type == "Conv"


def _fold(draft: Draft, layer: onnx.NodeProto, norm: onnx.NodeProto) -> None:
    constants = draft.constants
    scale, offset, mean, variance = (constants[name].astype(np.float64) for name in norm.input[1:])
    settings = {item.name: onnx.helper.get_attribute_value(item) for item in norm.attribute}
    factor = scale / np.sqrt(variance + settings.get("epsilon", 1e-5))
    weight = constants[layer.input[1]]
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in layer.attribute}
    axis = _AXIS.get(layer.op_type, 0 if attributes.get("transB", 0) else 1)
    column = [-1 if place == axis else 1 for place in range(weight.ndim)]
    constants[layer.input[1]] = (weight * factor.reshape(column)).astype(np.float32)
    bias = layer.input[2] if len(layer.input) > 2 else ""
    before = constants[bias].reshape(-1) if bias else 0.0
    name = bias or norm.input[2]
    constants[name] = ((before - mean) * factor + offset).astype(np.float32)
    if not bias:
        del layer.input[2:]
        layer.input.append(name)
    draft.nodes.remove(norm)
    layer.output[0] = norm.output[0]
