"""Classifies texts with the models that serve, and makes records of the answers. Worker, API and commands share it."""
