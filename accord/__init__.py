"""What both sides agree on: values, letters, the update pipeline, the secure sum, links and runtimes."""

__version__ = "0.1.0"
WIRE_VERSION = 1
