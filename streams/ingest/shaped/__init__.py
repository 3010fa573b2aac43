"""Sources whose posts have any shape: Kafka topics, folders, prefixes in S3, and webhooks.

documents   a JSON document -> an event, by a shape or a mapping
bodies      the body of a request -> events. Pure
options     the options of sources.toml that say which shape it is
topic       the records of a Kafka topic
offsets     the cursor of a topic. Pure
new_files   the new files of a folder or a prefix, in the order of their names
done        the cursor of such files. Pure
file_rows   a file -> its rows, read in a thread
folder      files in a folder
bucket      objects below a prefix in S3
webhook     posts that others send by HTTP
kinds       how each of these sources is opened

They are here and not in `connectors`, because they read files and documents as `streams.ingest` does.
"""
