"""Kafka through confluent-kafka: configuration, producers, consumers, and batches for Faust agents."""
