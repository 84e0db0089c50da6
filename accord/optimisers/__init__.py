"""Optimisers on the flat vector or on int8 steps, in place, in NumPy. State lives for one round of one device."""

from accord.optimisers.adam import Adam
from accord.optimisers.asked import optimiser_of
from accord.optimisers.descent import Sgd
from accord.optimisers.finite import finite
from accord.optimisers.flat import FlatOptimiser
from accord.optimisers.on_grid import OnGrid
from accord.optimisers.schedule import SCHEDULES, STEADY, Schedule
from accord.optimisers.stochastic import StochasticRounding

__all__ = [
    "SCHEDULES",
    "STEADY",
    "Adam",
    "FlatOptimiser",
    "OnGrid",
    "Schedule",
    "Sgd",
    "StochasticRounding",
    "finite",
    "optimiser_of",
]
