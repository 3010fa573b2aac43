"""Runs a system on real servers and measures it from outside; `bench_systems.py` is the command.

The pure parts are `stats`, `pacing`, `checks` and `report`; the others start processes and talk to Kafka.
"""
