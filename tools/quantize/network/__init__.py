"""A forward model made ready to differentiate: from whatever an exporter wrote to plain nodes with known shapes."""

from quantize.network.draft import IR_VERSION, OPSET, Shape, shapes_of
from quantize.network.network import Network
from quantize.network.reading import read_network

__all__ = ["IR_VERSION", "OPSET", "Network", "Shape", "read_network", "shapes_of"]
