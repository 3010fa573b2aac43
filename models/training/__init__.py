"""Trains and evaluates the models that this project serves. Only this package imports torch (extra `train`)."""
