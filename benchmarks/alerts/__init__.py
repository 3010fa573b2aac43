"""Synthetic streams of windows with known changes, and rules of other systems, for benchmarks/bench_alerts.py.

streams      windows with a daily and a weekly rhythm, and what happens to them at a known time
comparators  a plain threshold, and rules of Prometheus with `for`
folding      runs the engine of the alerts over streams
scores       counts false alarms, detections and delays
"""
