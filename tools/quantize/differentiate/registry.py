"""The table of rules: operator name to the function that writes its gradient. Holds no rule.

A rule of your own is a function under `@rule("Name")`, in any module that is imported before `training_graph` runs:

    @rule("Sin")
    def sin(tape: Tape, node: onnx.NodeProto, slope: str) -> Mapping[int, str]:
        return {0: tape.add("Mul", slope, tape.add("Cos", node.input[0]))}

It gets the tape, the forward node, and the name of the slope: the gradient of the loss by the node's first output, of
that output's shape. It appends nodes with `tape.add` and returns, for each input place that it can, the name of the
gradient by that input, of that input's shape: `tape.as_summed` undoes broadcasting. It may look at `tape.wanted(name)`
to leave out what nobody needs, at `tape.shape(name)`, and at `tape.constants`. An input place that is left out gets no
gradient: nothing flows through a condition or an index. What a rule can't do it refuses with a UsageError that names
the node. The operators that it writes have to be on the list of `accord.bundle.operators`, or devices refuse the graph.
"""

from collections.abc import Callable, Mapping

import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import Tape

Rule = Callable[[Tape, onnx.NodeProto, str], Mapping[int, str]]
"""(tape, forward node, name of the slope of its first output) -> slope's name for each input place that is wanted."""
ManyRule = Callable[[Tape, onnx.NodeProto, Mapping[int, str]], Mapping[int, str]]
"""The same for a node whose outputs all count: the slopes that are there, by output place."""

_RULES: dict[str, ManyRule] = {}


def rule(operator: str) -> Callable[[Rule], Rule]:
    """Enter a function as the rule of one operator, of whose outputs only the first is differentiated."""

    def enter(function: Rule) -> Rule:
        def of_first(tape: Tape, node: onnx.NodeProto, slopes: Mapping[int, str]) -> Mapping[int, str]:
            further = [name for place, name in enumerate(node.output) if place and place in slopes]
            if further:
                raise UsageError(f"{node.op_type} {node.name!r}: only its first output can be trained through")
            return function(tape, node, slopes[0])

        _RULES[operator] = of_first
        return function

    return enter


def rule_of_many(operator: str) -> Callable[[ManyRule], ManyRule]:
    """Enter a function as the rule of one operator with several outputs that carry gradients."""

    def enter(function: ManyRule) -> ManyRule:
        _RULES[operator] = function
        return function

    return enter


def rule_of(node: onnx.NodeProto) -> ManyRule:
    """Return the rule of a node's operator.

    Raises:
        UsageError: there is none; the operator and the node are named.
    """
    found = _RULES.get(node.op_type)
    if found is None:
        raise UsageError(
            f"operator {node.op_type} (node {node.name!r}) has no gradient rule, so nothing before it can be trained"
        )
    return found


def known_operators() -> tuple[str, ...]:
    """Return the operators that have a rule."""
    return tuple(sorted(_RULES))
