"""Reverse-mode differentiation of ONNX graphs, source to source: plain `ai.onnx` nodes in, plain `ai.onnx` nodes out.

One file per family of operators, one rule per operator, each with its formula.
"""
