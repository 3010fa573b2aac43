-- Means are named after what they are the mean of, as the views in bi name them already. The data stay as they are.

ALTER TABLE emotion_window_labels RENAME COLUMN avg_score TO mean_confidence;
ALTER TABLE emotion_windows RENAME COLUMN sentiment_score TO mean_sentiment;

ALTER VIEW hourly_windows RENAME COLUMN sentiment_score TO mean_sentiment;
ALTER VIEW hourly_labels RENAME COLUMN avg_score TO mean_confidence;
ALTER VIEW trend_labels RENAME COLUMN avg_score TO mean_confidence;

INSERT INTO schema_migrations (version) VALUES (7) ON CONFLICT DO NOTHING;
