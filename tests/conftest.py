"""What holds for all tests."""

import signal

# A shell lets what it runs in the background ignore Ctrl-C, and children inherit that: there, a test that interrupts
# something would interrupt nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)
