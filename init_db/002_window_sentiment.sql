-- The sentiment of each window by label, in long form as the labels are.

CREATE TABLE IF NOT EXISTS emotion_window_sentiments (
    keyword   text             NOT NULL,
    size_s    integer          NOT NULL,
    start_at  timestamptz      NOT NULL,
    label     text             NOT NULL,
    posts     bigint           NOT NULL,
    percent   double precision NOT NULL,
    PRIMARY KEY (keyword, size_s, start_at, label)
);
COMMENT ON TABLE emotion_window_sentiments IS 'The sentiment of each window in long form: one row per window and sentiment label. Empty for models without sentiment.';
COMMENT ON COLUMN emotion_window_sentiments.percent IS 'Share of the window''s posts that have a sentiment, 0 to 100.';
COMMENT ON COLUMN emotion_windows.sentiment_score IS 'Mean sentiment of the posts that have one, -1 to 1.';
COMMENT ON COLUMN posts.sentiment_score IS 'Sentiment of the post, -1 to 1; null for models without sentiment.';
COMMENT ON COLUMN posts.model_tier IS 'Which tier of the model answered.';

INSERT INTO schema_migrations (version) VALUES (2) ON CONFLICT DO NOTHING;
