"""Finds what Postgres lacks of what the sink has been through, and fills it from Kafka and Redis."""
