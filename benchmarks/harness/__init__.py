"""Runs a system on real servers and measures it from outside; `bench_systems.py` is the command.

`stats`, `pacing`, `checks`, `division` and `report` are pure. `program`, `servers` and `broker` are the processes and
Kafka, `trial` one system on topics of its own, `bench` what is measured of it, `rounds` the order of all runs.
"""
