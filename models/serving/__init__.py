"""Serving a model to a process: the hot swap when its channel moves, and what a version must pass before it serves.

Nothing here knows Faust or the settings, so that every kind of process can serve a model.
"""
