"""What holds for every test: a property is about what is found, never about how busy the machine is."""

import gc

from hypothesis import HealthCheck, settings

settings.register_profile("accord", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("accord")


def pytest_collection_finish() -> None:
    # Hundreds of thousands of objects, modules and collected tests, live until the end. No collection of garbage needs
    # to walk them again; the broker's tests ask for three each, and each walk was a fifth of a second.
    gc.collect()
    gc.freeze()
