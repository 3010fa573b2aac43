"""The gate: whether the machine is idle enough to write history (`rule`, pure), and the thread that watches it."""
