"""Hides `cryptography` from a process that is told to: imported before anything looks for it."""

import os
import sys

WITHOUT = "ACCORD_BENCHMARK_WITHOUT_CRYPTOGRAPHY"
"""The variable of the environment that says so."""

if os.environ.get(WITHOUT):
    sys.modules["cryptography"] = None  # type: ignore[assignment]
