"""Measurements of speed. `make bench` runs every bench_*.py."""
