"""Optimisers on the flat parameter vector, in place, in NumPy. State lives for one round of one device."""

from accord.optimisers.adam import Adam
from accord.optimisers.asked import Optimiser, optimiser_of
from accord.optimisers.descent import Sgd
from accord.optimisers.finite import finite

__all__ = ["Adam", "Optimiser", "Sgd", "finite", "optimiser_of"]
