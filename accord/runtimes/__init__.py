"""The only door to a model runtime. Importing this loads none: `open_runtime` does, when asked."""

from accord.runtimes.opening import open_runtime
from accord.runtimes.port import Runtime
from accord.runtimes.selftest import check_golden

__all__ = ["Runtime", "check_golden", "open_runtime"]
