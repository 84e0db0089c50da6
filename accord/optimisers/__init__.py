"""Optimisers on the flat parameter vector, in place, in NumPy. State lives for one round of one device."""

from accord.optimisers.adam import Adam
from accord.optimisers.asked import Optimiser, optimiser_of
from accord.optimisers.descent import Sgd
from accord.optimisers.finite import finite
from accord.optimisers.schedule import SCHEDULES, STEADY, Schedule

__all__ = ["SCHEDULES", "STEADY", "Adam", "Optimiser", "Schedule", "Sgd", "finite", "optimiser_of"]
