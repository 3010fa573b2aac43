"""Set-up of all tests."""

import os
import signal

import hypothesis

# A shell starts background jobs with SIGINT ignored, and children inherit that. Without this line, tests that interrupt
# a process would have no effect when they run in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The embedded Kafka starts some dozen times. Without the optimizing compiler a start takes half the processor time.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

# The time that an example takes depends on the machine, so it is not checked.
hypothesis.settings.register_profile(
    "emostream", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("emostream")
