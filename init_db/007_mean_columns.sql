-- Rename the columns of means after the value that is averaged, as in the views of bi, and correct three comments. The
-- data do not change.

ALTER TABLE emotion_window_labels RENAME COLUMN avg_score TO mean_confidence;
ALTER TABLE emotion_windows RENAME COLUMN sentiment_score TO mean_sentiment;

ALTER VIEW hourly_windows RENAME COLUMN sentiment_score TO mean_sentiment;
ALTER VIEW hourly_labels RENAME COLUMN avg_score TO mean_confidence;
ALTER VIEW trend_labels RENAME COLUMN avg_score TO mean_confidence;

COMMENT ON TABLE sink_offsets IS 'The next offset of each partition. It changes only in the transaction that writes the rows.';
COMMENT ON TABLE sink_gaps IS 'Ranges of offsets, [first_offset, next_offset), that Kafka no longer holds and that Postgres does not hold in full or as written.';
COMMENT ON COLUMN sink_ledger.rows IS 'Number of rows that the range added to posts. Null for windows, and for ranges that are older than this column.';

INSERT INTO schema_migrations (version) VALUES (7) ON CONFLICT DO NOTHING;
