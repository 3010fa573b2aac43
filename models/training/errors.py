"""The error for unusable input of training and evaluation. This module imports no large library."""

from models.errors import ModelError


class TrainingError(ModelError):
    """The data, the configuration or the work folder cannot be used. The message is one line with the reason."""
