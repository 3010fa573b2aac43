"""The gate: the rule that decides whether the machine is idle enough to write, and the thread that applies it."""
