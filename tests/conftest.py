"""What holds for all tests."""

import signal

from hypothesis import HealthCheck, settings

# A shell lets what it runs in the background ignore Ctrl-C, and children inherit that: there, a test that interrupts
# something would interrupt nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes is up to the machine, and to what else it does.
settings.register_profile("emostream", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("emostream")
