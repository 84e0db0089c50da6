"""What holds for every test: a property is about what is found, never about how busy the machine is."""

from hypothesis import HealthCheck, settings

settings.register_profile("accord", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("accord")
