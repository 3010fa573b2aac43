"""This machine: its cores, and the processor time that is used (procfs, cgroups)."""
