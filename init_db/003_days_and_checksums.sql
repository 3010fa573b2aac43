-- Posts are partitioned by day; the ledger can tell whether the rows of a range are really there.

ALTER TABLE posts RENAME TO posts_in_one;
ALTER INDEX posts_pkey RENAME TO posts_in_one_pkey;
ALTER INDEX posts_created_at RENAME TO posts_in_one_created_at;

CREATE TABLE posts (
    origin_topic     text             NOT NULL,
    origin_partition integer          NOT NULL,
    origin_offset    bigint           NOT NULL,
    id               text             NOT NULL,
    source           text             NOT NULL,
    keywords         text[]           NOT NULL,
    created_at       timestamptz      NOT NULL,
    text             text,
    lang             text,
    author           text,
    url              text,
    label            text             NOT NULL,
    confidence       double precision NOT NULL,
    scores           jsonb            NOT NULL,
    sentiment_label  text,
    sentiment_score  double precision,
    model_name       text             NOT NULL,
    model_version    text             NOT NULL,
    model_tier       text             NOT NULL,
    classified_at    timestamptz      NOT NULL,
    -- created_at comes from the raw record, so it is the same however often the record is classified.
    PRIMARY KEY (origin_topic, origin_partition, origin_offset, created_at)
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE posts IS 'One row per classified post, by day of creation. Its origin, the raw record it was made from, identifies it.';
COMMENT ON COLUMN posts.confidence IS 'Probability of the label, 0 to 1.';
COMMENT ON COLUMN posts.scores IS 'Probability of every label.';
COMMENT ON COLUMN posts.sentiment_score IS 'Sentiment of the post, -1 to 1; null for models without sentiment.';
COMMENT ON COLUMN posts.model_tier IS 'Which tier of the model answered.';
CREATE INDEX posts_created_at ON posts USING brin (created_at);

-- A partition for each day from 400 days ago; what is older, as in an archive that is replayed, lies in one of its own,
-- so that the number of partitions grows with the time that we run and not with the age of the posts.
DO $$
BEGIN
    EXECUTE format(
        'CREATE TABLE posts_older PARTITION OF posts FOR VALUES FROM (MINVALUE) TO (%L)',
        date_trunc('day', now() AT TIME ZONE 'UTC' - interval '400 days') AT TIME ZONE 'UTC'
    );
END
$$;

CREATE FUNCTION make_post_days(days date[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    day   date;
    name  text;
    since timestamptz;
    made  integer := 0;
BEGIN
    FOR day IN SELECT DISTINCT unnest(days) ORDER BY 1 LOOP
        name := 'posts_' || to_char(day, 'YYYYMMDD');
        since := day::timestamp AT TIME ZONE 'UTC';
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        -- The bound of posts_older, as it was set when the table was made.
        CONTINUE WHEN since < (
            SELECT substring(pg_get_expr(relpartbound, oid) FROM 'TO \(''([^'']+)''\)')::timestamptz
            FROM pg_class WHERE oid = to_regclass('posts_older')
        );
        -- One at a time. ATTACH, unlike CREATE … PARTITION OF, lets others write to the table meanwhile.
        PERFORM pg_advisory_xact_lock(hashtextextended('make_post_days', 0));
        CONTINUE WHEN to_regclass(name) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE posts INCLUDING ALL EXCLUDING INDEXES)', name);
        EXECUTE format(
            'ALTER TABLE posts ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, since, since + interval '24 hours'
        );
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
-- It acts with its owner's rights, so that no temporary table of the caller's may stand in for one of ours.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION make_post_days(date[]) SET search_path = %I, pg_temp', current_schema());
END
$$;
COMMENT ON FUNCTION make_post_days IS 'Makes the partitions of posts for these days (UTC) that are missing; returns how many.';

SELECT make_post_days(array_agg(DISTINCT (created_at AT TIME ZONE 'UTC')::date)) FROM posts_in_one;
INSERT INTO posts SELECT * FROM posts_in_one;
DROP TABLE posts_in_one;

ALTER TABLE sink_ledger
    ADD COLUMN rows         integer,
    ADD COLUMN checksum     bigint,
    ADD COLUMN origin_topic text,
    ADD COLUMN first_origin bigint,
    ADD COLUMN last_origin  bigint,
    ADD COLUMN first_event  timestamptz,
    ADD COLUMN last_event   timestamptz;
COMMENT ON TABLE sink_ledger IS 'Ranges of offsets that were written, [first_offset, next_offset). They follow each other without a hole.';
COMMENT ON COLUMN sink_ledger.records IS 'Records that were read in the range. Transaction markers and compacted records take offsets too.';
COMMENT ON COLUMN sink_ledger.rows IS 'Rows of posts that the range holds first; fewer than records where a post was delivered again. Null for windows, and for ranges that are older than this column.';
COMMENT ON COLUMN sink_ledger.checksum IS 'Of these rows: the hash of each, combined by exclusive or.';
COMMENT ON COLUMN sink_ledger.first_origin IS 'Lowest offset in origin_topic among these rows.';
COMMENT ON COLUMN sink_ledger.last_origin IS 'Highest offset in origin_topic up to the end of the range: what comes later with a lower one was delivered before.';
COMMENT ON COLUMN sink_ledger.first_event IS 'Earliest created_at among these rows.';
COMMENT ON COLUMN sink_ledger.last_event IS 'Latest created_at among these rows.';

ALTER TABLE sink_offsets ADD COLUMN first_offset bigint;
UPDATE sink_offsets AS stand SET first_offset = coalesce(
    (SELECT min(first_offset) FROM sink_ledger AS written
     WHERE (written.topic, written.partition) = (stand.topic, stand.partition)),
    next_offset
);
ALTER TABLE sink_offsets ALTER COLUMN first_offset SET NOT NULL;
COMMENT ON COLUMN sink_offsets.first_offset IS 'Where the sink began. The ledger and sink_gaps cover everything from here to next_offset.';

ALTER TABLE sink_gaps
    ADD COLUMN reason  text NOT NULL DEFAULT 'expired' CHECK (reason IN ('expired', 'lost', 'changed')),
    ADD COLUMN records bigint;
COMMENT ON TABLE sink_gaps IS 'Ranges of offsets, [first_offset, next_offset), whose records Postgres lacks and Kafka no longer holds.';
COMMENT ON COLUMN sink_gaps.reason IS 'expired: they left Kafka before they were written; lost: they were written, and rows are gone; changed: rows no longer say what was written.';
COMMENT ON COLUMN sink_gaps.records IS 'How many rows are missing; null where nobody can know.';

CREATE TABLE model_versions (
    name                text        NOT NULL,
    version             text        NOT NULL,
    first_classified_at timestamptz NOT NULL,
    PRIMARY KEY (name, version)
);
COMMENT ON TABLE model_versions IS 'The models that have classified posts.';
COMMENT ON COLUMN model_versions.first_classified_at IS 'When the first post that the sink saw of it was classified.';
INSERT INTO model_versions SELECT model_name, model_version, min(classified_at) FROM posts GROUP BY 1, 2;

INSERT INTO schema_migrations (version) VALUES (3) ON CONFLICT DO NOTHING;
