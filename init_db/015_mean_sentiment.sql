-- The mean sentiment of an hour that is added up from smaller windows. Each window counts as often as it has posts with a
-- sentiment. It counted as often as it has posts, which is wrong if some of them come from a model without sentiment.

-- The join is by what the subquery groups by, so that the planner leaves it out for a query that reads no mean.
-- Windows that are older than the rows of their sentiments have a mean and no such rows; all of their posts count.
CREATE OR REPLACE VIEW hourly_windows AS
SELECT keyword, start_at AS hour, posts, mean_sentiment, unsupported FROM emotion_windows WHERE size_s = 3600
UNION ALL
SELECT
    keyword,
    date_trunc('hour', start_at, 'UTC'),
    sum(posts)::bigint,
    sum(coalesce(scored, posts) * mean_sentiment)
        / nullif(sum(coalesce(scored, posts)) FILTER (WHERE mean_sentiment IS NOT NULL), 0),
    sum(unsupported)::bigint
FROM emotion_windows
LEFT JOIN (
    SELECT keyword, start_at, sum(posts)::bigint AS scored
    FROM emotion_window_sentiments
    WHERE (SELECT size_s IS NOT NULL FROM hour_parts) AND size_s = (SELECT size_s FROM hour_parts)
    GROUP BY 1, 2
) AS sentiments USING (keyword, start_at)
WHERE (SELECT size_s IS NOT NULL FROM hour_parts)
    AND size_s = (SELECT size_s FROM hour_parts)
    AND start_at < (SELECT until FROM hour_parts)
GROUP BY 1, 2;

INSERT INTO schema_migrations (version) VALUES (15) ON CONFLICT DO NOTHING;
