"""Benchmarks of speed and memory. `make bench` runs every bench_*.py."""
