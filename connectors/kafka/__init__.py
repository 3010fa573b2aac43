"""Kafka through confluent-kafka: configuration, confirmed production, positioned consumption, batches for Faust."""
