"""Connectors: one module or package per outside system."""
