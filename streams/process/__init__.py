"""Processes: a worker as several processes, signals, listening sockets, and background threads."""
