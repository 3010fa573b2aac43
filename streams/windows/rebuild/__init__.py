"""Recounts the windows into new window tables, and switches to them; `run` lists the steps."""
