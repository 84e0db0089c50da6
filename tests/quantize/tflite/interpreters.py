"""LiteRT as the tests call it: a model's signature run on arrays, and the operators that a model holds."""

from collections import Counter
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from quantize.tflite.packing import load_schema


def opened(model: bytes) -> Any:
    return Interpreter(model_content=model, num_threads=1)


def runner(model: bytes, signature: str) -> Any:
    """A signature to call; it keeps its interpreter and the model alive."""
    interpreter = opened(model)
    found = interpreter.get_signature_runner(signature)
    return lambda feeds: (interpreter, model) and found(**feeds)


def operators(model: bytes, subgraph: int = 0) -> Counter[str]:
    """How often each operator occurs in a subgraph; custom ones are called CUSTOM."""
    schema = load_schema()
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    found = schema.ModelT.InitFromPackedBuf(model, 0)
    codes = [names[code.builtinCode] for code in found.operatorCodes]
    return Counter(codes[operator.opcodeIndex] for operator in found.subgraphs[subgraph].operators)


def constant_inputs(model: bytes, operator: str, place: int) -> list[list[int]]:
    """The int32 constants that stand at one input of every operator of a kind, in all subgraphs."""
    schema = load_schema()
    found = schema.ModelT.InitFromPackedBuf(model, 0)
    wanted = getattr(schema.BuiltinOperator, operator)
    values = []
    for graph in found.subgraphs:
        for item in graph.operators:
            if found.operatorCodes[item.opcodeIndex].builtinCode == wanted:
                data = found.buffers[graph.tensors[item.inputs[place]].buffer].data
                values.append(bytes(data))
    return [list(memoryview(data).cast("i")) for data in values]
