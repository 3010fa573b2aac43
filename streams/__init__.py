"""emostream: live emotion statistics from a Kafka stream of social posts."""

__version__ = "0.1.0"
