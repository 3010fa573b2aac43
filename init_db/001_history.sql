-- The history: every classified post and the latest state of every emotion window.
-- Run by `emostream init` and, in a container, by PostgreSQL's own start; so it may meet its own work.

CREATE TABLE IF NOT EXISTS schema_migrations (
    version    integer     PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE schema_migrations IS 'Migrations of init_db/ that have been applied, by number.';

CREATE TABLE IF NOT EXISTS posts (
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
    PRIMARY KEY (origin_topic, origin_partition, origin_offset)
);
COMMENT ON TABLE posts IS 'One row per classified post. Its origin, the raw record it was made from, identifies it.';
COMMENT ON COLUMN posts.confidence IS 'Probability of the label, 0 to 1.';
COMMENT ON COLUMN posts.scores IS 'Probability of every label.';
CREATE INDEX IF NOT EXISTS posts_created_at ON posts USING brin (created_at);

CREATE TABLE IF NOT EXISTS emotion_windows (
    keyword         text        NOT NULL,
    size_s          integer     NOT NULL,
    start_at        timestamptz NOT NULL,
    end_at          timestamptz NOT NULL,
    posts           bigint      NOT NULL,
    sentiment_score double precision,
    models          jsonb       NOT NULL,
    sources         jsonb       NOT NULL,
    first_event     timestamptz NOT NULL,
    last_event      timestamptz NOT NULL,
    late            bigint      NOT NULL,
    final           boolean     NOT NULL,
    revision        bigint      NOT NULL,
    PRIMARY KEY (keyword, size_s, start_at)
);
COMMENT ON TABLE emotion_windows IS 'The latest state of each tumbling window. Keyword * is all posts together.';
COMMENT ON COLUMN emotion_windows.size_s IS 'Window size in seconds.';
COMMENT ON COLUMN emotion_windows.end_at IS 'End of the window, exclusive.';
COMMENT ON COLUMN emotion_windows.late IS 'Posts that came after the window was final; they are counted in posts.';
COMMENT ON COLUMN emotion_windows.revision IS 'Rises with every change of the window.';
CREATE INDEX IF NOT EXISTS emotion_windows_start_at ON emotion_windows USING brin (start_at);

CREATE TABLE IF NOT EXISTS emotion_window_labels (
    keyword   text             NOT NULL,
    size_s    integer          NOT NULL,
    start_at  timestamptz      NOT NULL,
    label     text             NOT NULL,
    posts     bigint           NOT NULL,
    percent   double precision NOT NULL,
    avg_score double precision NOT NULL,
    PRIMARY KEY (keyword, size_s, start_at, label)
);
COMMENT ON TABLE emotion_window_labels IS 'The labels of each window in long form: one row per window and label.';
COMMENT ON COLUMN emotion_window_labels.percent IS 'Share of the window''s posts, 0 to 100.';
COMMENT ON COLUMN emotion_window_labels.avg_score IS 'Mean confidence of these posts, 0 to 1.';

CREATE TABLE IF NOT EXISTS sink_offsets (
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE sink_offsets IS 'Where the sink stands: changed only in the transaction that writes the rows.';

CREATE TABLE IF NOT EXISTS sink_ledger (
    topic        text        NOT NULL,
    partition    integer     NOT NULL,
    first_offset bigint      NOT NULL,
    next_offset  bigint      NOT NULL,
    records      integer     NOT NULL,
    written_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, first_offset)
);
COMMENT ON TABLE sink_ledger IS 'Ranges of offsets that were written, [first_offset, next_offset), one per transaction.';

CREATE TABLE IF NOT EXISTS sink_gaps (
    topic        text        NOT NULL,
    partition    integer     NOT NULL,
    first_offset bigint      NOT NULL,
    next_offset  bigint      NOT NULL,
    found_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, first_offset)
);
COMMENT ON TABLE sink_gaps IS 'Ranges of offsets that left Kafka before they were written, [first_offset, next_offset).';

INSERT INTO schema_migrations (version) VALUES (1) ON CONFLICT DO NOTHING;
