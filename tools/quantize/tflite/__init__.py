"""Writes a training graph as a TFLite flatbuffer of builtin operators, from its ONNX form, without TensorFlow."""
