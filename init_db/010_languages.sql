-- The language of each post, posts without a label because the model does not read their language, and the languages of
-- each window.

ALTER TABLE posts
    ALTER COLUMN label DROP NOT NULL,
    ALTER COLUMN confidence DROP NOT NULL,
    ADD COLUMN lang_confidence double precision;
COMMENT ON COLUMN posts.label IS 'Label that the model gave; null if it does not read the language of the post.';
COMMENT ON COLUMN posts.lang IS 'Language of the post as a code of BCP 47: und if the text does not tell it, mis if it has no name. In rows without lang_confidence, the language that the source stated.';
COMMENT ON COLUMN posts.lang_confidence IS 'How clearly the text shows the language, 0 to 1. Null in rows that are older than this column.';
COMMENT ON COLUMN posts.model_tier IS 'Which tier of the model answered; unsupported if the model does not read the language of the post.';

ALTER TABLE emotion_windows
    ADD COLUMN unsupported bigint NOT NULL DEFAULT 0,
    ADD COLUMN languages   jsonb  NOT NULL DEFAULT '{}';
COMMENT ON COLUMN emotion_windows.posts IS 'Posts that have a label.';
COMMENT ON COLUMN emotion_windows.unsupported IS 'Posts without a label, because the model does not read their language. They are not counted in posts.';
COMMENT ON COLUMN emotion_windows.languages IS 'All posts by language.';

-- New columns of views come last. Other views use these, so that they cannot be dropped.
CREATE OR REPLACE VIEW hourly_windows AS
SELECT keyword, start_at AS hour, posts, mean_sentiment, unsupported FROM emotion_windows WHERE size_s = 3600
UNION ALL
SELECT
    keyword,
    date_trunc('hour', start_at, 'UTC'),
    sum(posts)::bigint,
    sum(posts * mean_sentiment) / sum(posts) FILTER (WHERE mean_sentiment IS NOT NULL),
    sum(unsupported)::bigint
FROM emotion_windows
WHERE (SELECT size_s IS NOT NULL FROM hour_parts)
    AND size_s = (SELECT size_s FROM hour_parts)
    AND start_at < (SELECT until FROM hour_parts)
GROUP BY 1, 2;

CREATE VIEW hourly_languages AS
SELECT keyword, hour, language, sum(posts)::bigint AS posts
FROM (
    SELECT keyword, start_at AS hour, languages FROM emotion_windows WHERE size_s = 3600
    UNION ALL
    SELECT keyword, date_trunc('hour', start_at, 'UTC'), languages
    FROM emotion_windows
    WHERE (SELECT size_s IS NOT NULL FROM hour_parts)
        AND size_s = (SELECT size_s FROM hour_parts)
        AND start_at < (SELECT until FROM hour_parts)
) AS windows
CROSS JOIN LATERAL (SELECT key AS language, value::bigint AS posts FROM jsonb_each_text(languages)) AS counts
GROUP BY 1, 2, 3;
COMMENT ON VIEW hourly_languages IS 'Posts by keyword, hour and language, with and without a label. Keyword * is all posts together.';

CREATE OR REPLACE VIEW bi.keyword_frequency AS
SELECT
    k.keyword,
    k.hour,
    k.posts + k.unsupported AS posts,
    100.0::float8 * (k.posts + k.unsupported) / nullif(a.posts + a.unsupported, 0) AS percent_of_all,
    k.unsupported AS unsupported_posts
FROM hourly_windows AS k JOIN hourly_windows AS a ON a.keyword = '*' AND a.hour = k.hour
WHERE k.keyword <> '*';
COMMENT ON COLUMN bi.keyword_frequency.posts IS 'Number of posts with the keyword, in any language. May be added up over hours.';
COMMENT ON COLUMN bi.keyword_frequency.unsupported_posts IS 'Those of them in languages that the model does not read. They have no emotion and no sentiment, and are in none of the other views. May be added up over hours.';

CREATE VIEW bi.keyword_frequency_all AS
SELECT 'all posts'::text AS keyword, hour, posts + unsupported AS posts, unsupported AS unsupported_posts
FROM hourly_windows WHERE keyword = '*';
COMMENT ON VIEW bi.keyword_frequency_all IS 'How many posts there are, each once, also those without keywords: one row per hour.';
COMMENT ON COLUMN bi.keyword_frequency_all.keyword IS 'The words "all posts".';
COMMENT ON COLUMN bi.keyword_frequency_all.hour IS 'Begin of the hour in which the posts were created. The newest hour is still counting.';
COMMENT ON COLUMN bi.keyword_frequency_all.posts IS 'Number of posts, in any language. May be added up over hours.';
COMMENT ON COLUMN bi.keyword_frequency_all.unsupported_posts IS 'Those of them in languages that the model does not read. May be added up over hours.';

CREATE VIEW bi.language_share AS
SELECT
    keyword, hour, language, posts, 100.0::float8 * posts / sum(posts) OVER (PARTITION BY keyword, hour) AS percent
FROM hourly_languages WHERE keyword <> '*';
COMMENT ON VIEW bi.language_share IS 'Languages of each keyword by hour: one row per keyword, hour and language. A post with two keywords is in the rows of both; all posts together are in language_share_all. Posts that version 0.1 classified are not in it.';
COMMENT ON COLUMN bi.language_share.keyword IS 'Keyword of the posts.';
COMMENT ON COLUMN bi.language_share.hour IS 'Begin of the hour in which the posts were created. The newest hour is still counting.';
COMMENT ON COLUMN bi.language_share.language IS 'Language as a code of BCP 47, such as en: und if the text does not tell it, mis if it has no name, (other) for all others together.';
COMMENT ON COLUMN bi.language_share.posts IS 'Number of posts, also of those without an emotion. May be added up over hours and languages.';
COMMENT ON COLUMN bi.language_share.percent IS 'Share of the keyword''s posts in this hour, 0 to 100; adds up to 100 over the languages.';

CREATE VIEW bi.language_share_all AS
SELECT
    'all posts'::text AS keyword, hour, language, posts,
    100.0::float8 * posts / sum(posts) OVER (PARTITION BY hour) AS percent
FROM hourly_languages WHERE keyword = '*';
COMMENT ON VIEW bi.language_share_all IS 'Languages of all posts by hour, each post once: one row per hour and language. The columns are those of language_share.';
COMMENT ON COLUMN bi.language_share_all.keyword IS 'The words "all posts".';
COMMENT ON COLUMN bi.language_share_all.hour IS 'Begin of the hour in which the posts were created. The newest hour is still counting.';
COMMENT ON COLUMN bi.language_share_all.language IS 'Language as a code of BCP 47, such as en: und if the text does not tell it, mis if it has no name, (other) for all others together.';
COMMENT ON COLUMN bi.language_share_all.posts IS 'Number of posts, also of those without an emotion. May be added up over hours and languages.';
COMMENT ON COLUMN bi.language_share_all.percent IS 'Share of all posts in this hour, 0 to 100; adds up to 100 over the languages.';

CREATE OR REPLACE VIEW bi.recent_posts AS
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
    id AS post_id,
    lang_confidence AS language_confidence
FROM posts WHERE created_at >= now() - interval '7 days';
COMMENT ON COLUMN bi.recent_posts.emotion IS 'Emotion that the model found; null if it does not read the language of the post.';
COMMENT ON COLUMN bi.recent_posts.confidence IS 'Confidence of the model in the emotion, 0 to 1; null if there is none.';
COMMENT ON COLUMN bi.recent_posts.language IS 'Language of the post as a code of BCP 47, such as en: und if the text does not tell it, mis if it has no name.';
COMMENT ON COLUMN bi.recent_posts.model IS 'Name and version of the model that classified the post, or that does not read its language.';
COMMENT ON COLUMN bi.recent_posts.language_confidence IS 'How clearly the text shows the language, 0 to 1; 0 if only the source states it. Null for posts that version 0.1 classified.';

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tableau') THEN
        GRANT SELECT ON bi.keyword_frequency_all, bi.language_share, bi.language_share_all TO tableau;
    END IF;
END
$$;

INSERT INTO schema_migrations (version) VALUES (10) ON CONFLICT DO NOTHING;
