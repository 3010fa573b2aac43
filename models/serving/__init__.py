"""Serves a model in a process: the checks that a version must pass, and the swap when its channel moves.

This package does not use Faust or the settings, so that every kind of process can serve a model.
"""
