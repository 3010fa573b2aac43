"""The sink: writes classified posts and windows from Kafka to Postgres, each record exactly once."""
