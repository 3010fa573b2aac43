-- The ids that Kafka gave the topics whose offsets and origins this database holds.

CREATE TABLE sink_topics (
    topic text PRIMARY KEY,
    id    text NOT NULL
);
COMMENT ON TABLE sink_topics IS 'The id of each topic in Kafka. A topic that is deleted and made again has another id, and offsets from 0 on.';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'emostream_writer') THEN
        GRANT SELECT, INSERT, UPDATE ON sink_topics TO emostream_writer;
    END IF;
END
$$;

INSERT INTO schema_migrations (version) VALUES (9) ON CONFLICT DO NOTHING;
