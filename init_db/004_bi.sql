-- The schema bi: what Tableau and other BI tools read. Plain names, a comment on every view and column.
--
-- No figure can be counted twice by leaving a filter out: a view reads windows of one size, and all posts together
-- have views of their own (…_all), apart from the keywords.

-- Helpers, which are not for BI tools. All of them cost a few look-ups in an index.

CREATE VIEW window_sizes AS
WITH RECURSIVE sizes AS (
    SELECT min(size_s) AS size_s FROM emotion_windows WHERE keyword = '*'
    UNION ALL
    SELECT (SELECT min(size_s) FROM emotion_windows WHERE keyword = '*' AND size_s > sizes.size_s)
    FROM sizes WHERE size_s IS NOT NULL
), bounds AS (
    SELECT
        size_s,
        (SELECT min(start_at) FROM emotion_windows AS w WHERE keyword = '*' AND w.size_s = sizes.size_s) AS first_at,
        (SELECT max(start_at) FROM emotion_windows AS w WHERE keyword = '*' AND w.size_s = sizes.size_s) AS last_at
    FROM sizes WHERE size_s IS NOT NULL
)
SELECT size_s, first_at, last_at,
    last_at + size_s * interval '1 second' >= max(last_at) OVER () AS in_use
FROM bounds;
COMMENT ON VIEW window_sizes IS 'Sizes of the windows there are, the first and the last start of each, and whether they are still made.';

-- Hours are the windows of one hour. Where these began later than smaller ones, or there are none, the largest of the
-- smaller ones that make up an hour are added up for the time before.
CREATE VIEW hour_parts AS
SELECT
    (SELECT max(size_s) FROM window_sizes WHERE size_s < 3600 AND 3600 % size_s = 0 AND first_at < hours.first_at)
        AS size_s,
    hours.first_at AS until
FROM (SELECT coalesce(min(first_at), 'infinity') AS first_at FROM window_sizes WHERE size_s = 3600) AS hours;
COMMENT ON VIEW hour_parts IS 'The windows that stand in for those of an hour, and until when; a size of null where they need not.';

CREATE VIEW hourly_windows AS
SELECT keyword, start_at AS hour, posts, sentiment_score FROM emotion_windows WHERE size_s = 3600
UNION ALL
SELECT
    keyword,
    date_trunc('hour', start_at, 'UTC'),
    sum(posts)::bigint,
    sum(posts * sentiment_score) / sum(posts) FILTER (WHERE sentiment_score IS NOT NULL)
FROM emotion_windows
WHERE (SELECT size_s IS NOT NULL FROM hour_parts)
    AND size_s = (SELECT size_s FROM hour_parts)
    AND start_at < (SELECT until FROM hour_parts)
GROUP BY 1, 2;
COMMENT ON VIEW hourly_windows IS 'Posts by keyword and hour. Keyword * is all posts together.';

CREATE VIEW hourly_labels AS
SELECT keyword, start_at AS hour, label, posts, percent, avg_score FROM emotion_window_labels WHERE size_s = 3600
UNION ALL
SELECT
    keyword, hour, label, posts, 100.0::float8 * posts / sum(posts) OVER (PARTITION BY keyword, hour), avg_score
FROM (
    SELECT
        keyword,
        date_trunc('hour', start_at, 'UTC') AS hour,
        label,
        sum(posts)::bigint AS posts,
        sum(posts * avg_score) / sum(posts) AS avg_score
    FROM emotion_window_labels
    WHERE (SELECT size_s IS NOT NULL FROM hour_parts)
        AND size_s = (SELECT size_s FROM hour_parts)
        AND start_at < (SELECT until FROM hour_parts)
    GROUP BY 1, 2, 3
) AS summed;
COMMENT ON VIEW hourly_labels IS 'Posts by keyword, hour and label. Keyword * is all posts together.';

CREATE VIEW hourly_sentiments AS
SELECT keyword, start_at AS hour, label, posts, percent FROM emotion_window_sentiments WHERE size_s = 3600
UNION ALL
SELECT keyword, hour, label, posts, 100.0::float8 * posts / sum(posts) OVER (PARTITION BY keyword, hour)
FROM (
    SELECT keyword, date_trunc('hour', start_at, 'UTC') AS hour, label, sum(posts)::bigint AS posts
    FROM emotion_window_sentiments
    WHERE (SELECT size_s IS NOT NULL FROM hour_parts)
        AND size_s = (SELECT size_s FROM hour_parts)
        AND start_at < (SELECT until FROM hour_parts)
    GROUP BY 1, 2, 3
) AS summed;
COMMENT ON VIEW hourly_sentiments IS 'Posts by keyword, hour and sentiment. Keyword * is all posts together.';

CREATE SCHEMA bi;
COMMENT ON SCHEMA bi IS 'Views for Tableau and other BI tools; see docs/tableau.md.';

-- The stacked bar.

CREATE VIEW bi.emotion_share AS
SELECT keyword, hour, label AS emotion, posts, percent, avg_score AS mean_confidence
FROM hourly_labels WHERE keyword <> '*';
COMMENT ON VIEW bi.emotion_share IS 'Emotions of each keyword by hour: one row per keyword, hour and emotion. A post with two keywords is in the rows of both, so add posts over hours and emotions, not over keywords; all posts together are in emotion_share_all.';
COMMENT ON COLUMN bi.emotion_share.keyword IS 'Keyword of the posts.';
COMMENT ON COLUMN bi.emotion_share.hour IS 'Begin of the hour in which the posts were created. The newest hour is still counting.';
COMMENT ON COLUMN bi.emotion_share.emotion IS 'Emotion that the model found. An emotion without posts in the hour has no row.';
COMMENT ON COLUMN bi.emotion_share.posts IS 'Number of posts. May be added up over hours and emotions.';
COMMENT ON COLUMN bi.emotion_share.percent IS 'Share of the keyword''s posts in this hour, 0 to 100; adds up to 100 over the emotions. For longer than an hour take the share of posts.';
COMMENT ON COLUMN bi.emotion_share.mean_confidence IS 'Mean confidence of the model in these posts, 0 to 1. For longer than an hour weigh it by posts.';

CREATE VIEW bi.emotion_share_all AS
SELECT 'all posts'::text AS keyword, hour, label AS emotion, posts, percent, avg_score AS mean_confidence
FROM hourly_labels WHERE keyword = '*';
COMMENT ON VIEW bi.emotion_share_all IS 'Emotions of all posts by hour, each post once, also those without keywords: one row per hour and emotion. The columns are those of emotion_share.';

-- Emotions over time.

CREATE VIEW trend_parts AS
SELECT
    (SELECT min(size_s) FROM window_sizes WHERE in_use) AS size_s,
    (SELECT array_agg(DISTINCT label) FROM emotion_window_labels
        WHERE keyword = '*' AND size_s = (SELECT max(size_s) FROM window_sizes WHERE in_use)) AS labels;
COMMENT ON VIEW trend_parts IS 'The smallest window size in use, and all labels that posts have had.';

-- OFFSET 0 keeps the planner from joining the whole tables: what is read are the labels of the windows asked for.
CREATE VIEW trend_labels AS
SELECT w.keyword, w.start_at, w.size_s, l.label, l.posts, l.percent, l.avg_score, w.posts AS window_posts
FROM emotion_windows AS w
CROSS JOIN LATERAL (
    SELECT label, coalesce(found.posts, 0) AS posts, coalesce(found.percent, 0) AS percent, found.avg_score
    FROM unnest((SELECT labels FROM trend_parts)) AS known (label)
    LEFT JOIN (
        SELECT label, posts, percent, avg_score FROM emotion_window_labels AS f
        WHERE (f.keyword, f.size_s, f.start_at) = (w.keyword, w.size_s, w.start_at)
    ) AS found USING (label)
    OFFSET 0
) AS l
WHERE w.size_s = (SELECT size_s FROM trend_parts);
COMMENT ON VIEW trend_labels IS 'The smallest windows by label, with a row also for a label without posts. Keyword * is all posts together.';

CREATE VIEW bi.emotion_trend AS
SELECT
    keyword,
    start_at AS "time",
    size_s / 60.0::float8 AS minutes,
    label AS emotion,
    posts,
    percent,
    avg_score AS mean_confidence,
    window_posts AS keyword_posts
FROM trend_labels WHERE keyword <> '*';
COMMENT ON VIEW bi.emotion_trend IS 'Emotions of each keyword in the finest steps there are, a minute by default: one row per keyword, step and emotion, also where an emotion has no posts, so that lines and moving averages are right. Filter it to a span of time: it is by far the largest of these views.';
COMMENT ON COLUMN bi.emotion_trend.keyword IS 'Keyword of the posts.';
COMMENT ON COLUMN bi.emotion_trend.time IS 'Begin of the step in which the posts were created.';
COMMENT ON COLUMN bi.emotion_trend.minutes IS 'Length of the step in minutes.';
COMMENT ON COLUMN bi.emotion_trend.emotion IS 'Emotion that the model found.';
COMMENT ON COLUMN bi.emotion_trend.posts IS 'Number of posts, 0 where there are none. May be added up over time and emotions.';
COMMENT ON COLUMN bi.emotion_trend.percent IS 'Share of the keyword''s posts in this step, 0 to 100. For longer than a step take posts by keyword_posts.';
COMMENT ON COLUMN bi.emotion_trend.mean_confidence IS 'Mean confidence of the model in these posts, 0 to 1; null where there are none.';
COMMENT ON COLUMN bi.emotion_trend.keyword_posts IS 'All posts of the keyword in this step, the same for each emotion: the divisor of a share over several steps. Not to be added up over emotions.';

CREATE VIEW bi.emotion_trend_all AS
SELECT
    'all posts'::text AS keyword,
    start_at AS "time",
    size_s / 60.0::float8 AS minutes,
    label AS emotion,
    posts,
    percent,
    avg_score AS mean_confidence,
    window_posts AS keyword_posts
FROM trend_labels WHERE keyword = '*';
COMMENT ON VIEW bi.emotion_trend_all IS 'Emotions of all posts in the finest steps there are, each post once. The columns are those of emotion_trend.';

-- The scatter, and what stands out in it: the modified z-score of Iglewicz and Hoaglin (How to Detect and Handle
-- Outliers, 1993), 0.6745 times the distance from the median in median absolute deviations, above 3.5.

CREATE VIEW bi.confidence_scatter AS
WITH period AS (
    SELECT max(last_at) - interval '7 days' AS since FROM window_sizes
), shares AS (
    SELECT
        keyword,
        label AS emotion,
        sum(posts)::bigint AS posts,
        (100 * sum(posts) / sum(sum(posts)) OVER (PARTITION BY keyword))::float8 AS percent,
        sum(posts * avg_score) / sum(posts) AS mean_confidence
    FROM hourly_labels
    WHERE keyword <> '*' AND hour > (SELECT since FROM period)
    GROUP BY 1, 2
), medians AS (
    SELECT
        emotion,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY percent) AS percent,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY mean_confidence) AS mean_confidence
    FROM shares WHERE posts >= 30 GROUP BY 1 HAVING count(*) >= 5
), deviations AS (
    SELECT
        emotion,
        m.percent AS usual_percent,
        m.mean_confidence AS usual_confidence,
        nullif(percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(s.percent - m.percent)), 0) AS percent_mad,
        nullif(percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(s.mean_confidence - m.mean_confidence)), 0)
            AS confidence_mad
    FROM shares AS s JOIN medians AS m USING (emotion) WHERE posts >= 30 GROUP BY 1, 2, 3
), scores AS (
    SELECT
        keyword, emotion, posts, s.percent, s.mean_confidence, usual_percent, usual_confidence,
        CASE WHEN posts >= 30 THEN 0.6745 * (s.percent - usual_percent) / percent_mad END AS percent_score,
        CASE WHEN posts >= 30 THEN 0.6745 * (s.mean_confidence - usual_confidence) / confidence_mad END
            AS confidence_score
    FROM shares AS s LEFT JOIN deviations USING (emotion)
)
SELECT
    *,
    coalesce(abs(percent_score) > 3.5, false) OR coalesce(abs(confidence_score) > 3.5, false) AS is_outlier
FROM scores;
COMMENT ON VIEW bi.confidence_scatter IS 'How frequent each emotion is in each keyword, and how sure the model is of it, over the last seven days of data: one row per keyword and emotion.';
COMMENT ON COLUMN bi.confidence_scatter.keyword IS 'Keyword of the posts.';
COMMENT ON COLUMN bi.confidence_scatter.emotion IS 'Emotion that the model found.';
COMMENT ON COLUMN bi.confidence_scatter.posts IS 'Number of posts in the seven days.';
COMMENT ON COLUMN bi.confidence_scatter.percent IS 'Share of the keyword''s posts, 0 to 100; adds up to 100 over the emotions.';
COMMENT ON COLUMN bi.confidence_scatter.mean_confidence IS 'Mean confidence of the model in these posts, 0 to 1.';
COMMENT ON COLUMN bi.confidence_scatter.usual_percent IS 'Median of percent for this emotion over the keywords with at least 30 such posts; null where they are fewer than five.';
COMMENT ON COLUMN bi.confidence_scatter.usual_confidence IS 'Median of mean_confidence for this emotion over the same keywords.';
COMMENT ON COLUMN bi.confidence_scatter.percent_score IS 'How far percent lies from the usual: the modified z-score, positive above it. Null where it cannot be judged: below 30 posts, or fewer than five keywords to compare with.';
COMMENT ON COLUMN bi.confidence_scatter.confidence_score IS 'The same for mean_confidence.';
COMMENT ON COLUMN bi.confidence_scatter.is_outlier IS 'Whether either score is above 3.5 or below -3.5; false where it cannot be judged.';

CREATE VIEW bi.keyword_frequency AS
SELECT k.keyword, k.hour, k.posts, 100.0::float8 * k.posts / a.posts AS percent_of_all
FROM hourly_windows AS k JOIN hourly_windows AS a ON a.keyword = '*' AND a.hour = k.hour
WHERE k.keyword <> '*';
COMMENT ON VIEW bi.keyword_frequency IS 'How often each keyword occurs: one row per keyword and hour. A post with two keywords is in the rows of both.';
COMMENT ON COLUMN bi.keyword_frequency.keyword IS 'Keyword of the posts.';
COMMENT ON COLUMN bi.keyword_frequency.hour IS 'Begin of the hour in which the posts were created. The newest hour is still counting.';
COMMENT ON COLUMN bi.keyword_frequency.posts IS 'Number of posts with the keyword. May be added up over hours.';
COMMENT ON COLUMN bi.keyword_frequency.percent_of_all IS 'Share of all posts of the hour, 0 to 100. Adds up to more or less than 100 over the keywords: posts may have several, or none.';

CREATE VIEW bi.sentiment_trend AS
SELECT s.keyword, s.hour, s.label AS sentiment, s.posts, s.percent, w.sentiment_score AS mean_sentiment
FROM hourly_sentiments AS s JOIN hourly_windows AS w ON w.keyword = s.keyword AND w.hour = s.hour
WHERE s.keyword <> '*';
COMMENT ON VIEW bi.sentiment_trend IS 'Sentiment of each keyword by hour: one row per keyword, hour and sentiment. Empty for models without sentiment. A post with two keywords is in the rows of both; all posts together are in sentiment_trend_all.';
COMMENT ON COLUMN bi.sentiment_trend.keyword IS 'Keyword of the posts.';
COMMENT ON COLUMN bi.sentiment_trend.hour IS 'Begin of the hour in which the posts were created. The newest hour is still counting.';
COMMENT ON COLUMN bi.sentiment_trend.sentiment IS 'Sentiment that the model found. A sentiment without posts in the hour has no row.';
COMMENT ON COLUMN bi.sentiment_trend.posts IS 'Number of posts. May be added up over hours and sentiments.';
COMMENT ON COLUMN bi.sentiment_trend.percent IS 'Share of the keyword''s posts in this hour that have a sentiment, 0 to 100.';
COMMENT ON COLUMN bi.sentiment_trend.mean_sentiment IS 'Mean sentiment of the keyword''s posts in this hour, -1 to 1; the same in each of its rows.';

CREATE VIEW bi.sentiment_trend_all AS
SELECT
    'all posts'::text AS keyword, s.hour, s.label AS sentiment, s.posts, s.percent,
    w.sentiment_score AS mean_sentiment
FROM hourly_sentiments AS s JOIN hourly_windows AS w ON w.keyword = s.keyword AND w.hour = s.hour
WHERE s.keyword = '*';
COMMENT ON VIEW bi.sentiment_trend_all IS 'Sentiment of all posts by hour, each post once: one row per hour and sentiment. The columns are those of sentiment_trend.';

CREATE VIEW bi.recent_posts AS
SELECT
    created_at,
    text,
    label AS emotion,
    confidence,
    sentiment_label AS sentiment,
    sentiment_score,
    source,
    array_to_string(keywords, ', ') AS keywords,
    lang AS language,
    author,
    url,
    model_name || ' ' || model_version AS model,
    id AS post_id
FROM posts WHERE created_at >= now() - interval '7 days';
COMMENT ON VIEW bi.recent_posts IS 'The posts of the last seven days: one row per post.';
COMMENT ON COLUMN bi.recent_posts.created_at IS 'When the post was created.';
COMMENT ON COLUMN bi.recent_posts.text IS 'Text of the post.';
COMMENT ON COLUMN bi.recent_posts.emotion IS 'Emotion that the model found.';
COMMENT ON COLUMN bi.recent_posts.confidence IS 'Confidence of the model in the emotion, 0 to 1.';
COMMENT ON COLUMN bi.recent_posts.sentiment IS 'Sentiment that the model found; null for models without sentiment.';
COMMENT ON COLUMN bi.recent_posts.sentiment_score IS 'Sentiment as a number, -1 to 1; null for models without sentiment.';
COMMENT ON COLUMN bi.recent_posts.source IS 'Where the post comes from.';
COMMENT ON COLUMN bi.recent_posts.keywords IS 'Keywords of the post, separated by commas; empty where it has none.';
COMMENT ON COLUMN bi.recent_posts.language IS 'Language of the post, as its source gave it; often null.';
COMMENT ON COLUMN bi.recent_posts.author IS 'Author of the post, as its source gave it; often null.';
COMMENT ON COLUMN bi.recent_posts.url IS 'Address of the post; often null.';
COMMENT ON COLUMN bi.recent_posts.model IS 'Name and version of the model that classified the post.';
COMMENT ON COLUMN bi.recent_posts.post_id IS 'Identifier of the post, as its source gave it.';

CREATE VIEW bi.model_versions AS
SELECT name AS model, version, first_classified_at FROM model_versions;
COMMENT ON VIEW bi.model_versions IS 'The models that have classified posts: one row per version. Marks in a trend where the model changed.';
COMMENT ON COLUMN bi.model_versions.model IS 'Name of the model.';
COMMENT ON COLUMN bi.model_versions.version IS 'Version of the model.';
COMMENT ON COLUMN bi.model_versions.first_classified_at IS 'When it classified its first post.';

CREATE VIEW bi.freshness AS
SELECT
    max(w.last_event) AS newest_post_at,
    date_trunc('hour', max(w.last_event), 'UTC') AS newest_hour,
    (extract(epoch FROM now() - max(w.last_event)) / 60)::float8 AS minutes_behind
FROM window_sizes AS s
JOIN emotion_windows AS w ON w.keyword = '*' AND w.size_s = s.size_s AND w.start_at = s.last_at;
COMMENT ON VIEW bi.freshness IS 'Up to when there is data: one row. The sink writes while the machine is idle, so the views lag behind while it is busy.';
COMMENT ON COLUMN bi.freshness.newest_post_at IS 'When the newest post that the windows have was created.';
COMMENT ON COLUMN bi.freshness.newest_hour IS 'Begin of its hour, the newest in the hourly views, which is still counting.';
COMMENT ON COLUMN bi.freshness.minutes_behind IS 'Minutes since then.';

-- The columns of the …_all views are those of the others, and so are their comments.
DO $$
DECLARE
    sentence text;
BEGIN
    FOR sentence IN
        SELECT format('COMMENT ON COLUMN bi.%I.%I IS %L', base.relname || '_all', a.attname,
            CASE a.attname WHEN 'keyword' THEN 'The words "all posts".'
                ELSE replace(col_description(base.oid, a.attnum), 'the keyword''s posts', 'all posts') END)
        FROM pg_class AS base JOIN pg_attribute AS a ON a.attrelid = base.oid
        WHERE base.relnamespace = 'bi'::regnamespace
            AND base.relname IN ('emotion_share', 'emotion_trend', 'sentiment_trend')
    LOOP
        EXECUTE sentence;
    END LOOP;
END
$$;

INSERT INTO schema_migrations (version) VALUES (4) ON CONFLICT DO NOTHING;
