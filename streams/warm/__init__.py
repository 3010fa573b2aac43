"""The warmer: refreshes the answers that are asked for most, while the machine is idle."""
