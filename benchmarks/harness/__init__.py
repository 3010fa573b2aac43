"""Runs each compared system on real servers and measures it from outside. The command is `bench_systems.py`.

`stats`, `pacing`, `checks`, `division` and `report` are pure. `program`, `servers` and `broker` wrap processes and
Kafka. `trial` runs one system on its own topics, `bench` measures such a run, and `rounds` orders all runs.
"""
