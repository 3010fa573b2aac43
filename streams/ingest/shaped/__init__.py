"""Sources whose posts have any shape: Kafka topics.

documents   a JSON document -> an event, by a shape or a mapping
options     the options of sources.toml that say which shape it is
topic       the records of a Kafka topic
offsets     the cursor of a topic. Pure
kinds       how each of these sources is opened

They are here and not in `connectors`, because they read files and documents as `streams.ingest` does.
"""
