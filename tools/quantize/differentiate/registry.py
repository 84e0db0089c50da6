"""The table of rules: operator name to the function that writes its gradient. Holds no rule."""

from collections.abc import Callable, Mapping

import onnx

from accord.errors import UsageError
from quantize.differentiate.tape import Tape

Rule = Callable[[Tape, onnx.NodeProto, str], Mapping[int, str]]
"""(tape, forward node, name of the slope of its first output) -> slope's name for each input place that is wanted."""

_RULES: dict[str, Rule] = {}


def rule(operator: str) -> Callable[[Rule], Rule]:
    """Enter a function as the rule of one operator."""

    def enter(function: Rule) -> Rule:
        _RULES[operator] = function
        return function

    return enter


def rule_of(node: onnx.NodeProto) -> Rule:
    """Return the rule of a node's operator.

    Raises:
        UsageError: there is none; the operator and the node are named.
    """
    found = _RULES.get(node.op_type)
    if found is None:
        raise UsageError(
            f"operator {node.op_type} (node {node.name!r}) has no gradient rule, so nothing before it can be trained; "
            f"there are rules for {', '.join(known_operators())}",
        )
    return found


def known_operators() -> tuple[str, ...]:
    """Return the operators that have a rule."""
    return tuple(sorted(_RULES))
