"""Model to training bundle: differentiates an ONNX graph ahead of time. Never needed on a device."""
