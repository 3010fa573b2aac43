-- Rename the columns of means after the value that is averaged, as in the views of bi. The data do not change.

ALTER TABLE emotion_window_labels RENAME COLUMN avg_score TO mean_confidence;
ALTER TABLE emotion_windows RENAME COLUMN sentiment_score TO mean_sentiment;

ALTER VIEW hourly_windows RENAME COLUMN sentiment_score TO mean_sentiment;
ALTER VIEW hourly_labels RENAME COLUMN avg_score TO mean_confidence;
ALTER VIEW trend_labels RENAME COLUMN avg_score TO mean_confidence;

INSERT INTO schema_migrations (version) VALUES (7) ON CONFLICT DO NOTHING;
