"""What can be wrong with what training and evaluation are given; imports nothing heavy."""

from models.errors import ModelError


class TrainingError(ModelError):
    """The data, the configuration or the work folder cannot be used; the message is one line that says why."""
