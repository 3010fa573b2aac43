"""Processes: several of them as one, signals, listening sockets, background threads."""
