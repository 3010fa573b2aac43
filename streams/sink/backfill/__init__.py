"""The backfill: finds rows that Postgres lacks, and fills them from Kafka and Redis."""
