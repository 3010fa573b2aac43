-- A batch of records that cannot be read, for example because it cannot be decompressed, is a gap too.

ALTER TABLE sink_gaps DROP CONSTRAINT sink_gaps_reason_check;
ALTER TABLE sink_gaps ADD CONSTRAINT sink_gaps_reason_check
    CHECK (reason IN ('expired', 'lost', 'changed', 'unreadable'));
COMMENT ON TABLE sink_gaps IS 'Ranges of offsets, [first_offset, next_offset), that cannot be read from Kafka and that Postgres does not hold in full or as written.';
COMMENT ON COLUMN sink_gaps.reason IS 'expired: they left Kafka before they were written; lost: they were written, and rows are gone; changed: rows no longer say what was written; unreadable: Kafka holds them, but their batch cannot be read.';

INSERT INTO schema_migrations (version) VALUES (8) ON CONFLICT DO NOTHING;
