"""What a demo can show: which data, which model, and with what it is compared."""

from simulation.scenarios.scenario import NAMES, Scenario, scenario

__all__ = ["NAMES", "Scenario", "scenario"]
