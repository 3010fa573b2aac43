"""What holds for all tests."""

import signal

import hypothesis

# A shell lets what it runs in the background ignore Ctrl-C, and children inherit that: there, a test that interrupts
# something would interrupt nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing about whether it is right.
hypothesis.settings.register_profile("emostream", deadline=None)
hypothesis.settings.load_profile("emostream")
