"""The gate: the rule that decides whether the machine is idle enough for a role, and the thread that applies it."""
