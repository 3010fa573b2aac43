"""This machine: its cores, and how much of its processor time everything uses (procfs, cgroups)."""
