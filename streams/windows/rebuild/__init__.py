"""Counts the windows anew beside the tables in force, and switches over; `run.rebuild` has the steps."""
