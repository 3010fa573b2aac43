-- Deleted posts and accounts: what was deleted, and the rows of posts whose text, author and URL were erased.

ALTER TABLE posts ADD COLUMN erased_at timestamptz;
COMMENT ON COLUMN posts.text IS 'Text of the post; null if it was erased, or if EMOSTREAM_KEEP_TEXT is off.';
COMMENT ON COLUMN posts.author IS 'Author of the post, as a keyed hash by default; null if it was erased or is not known.';
COMMENT ON COLUMN posts.url IS 'Where people read the post; null if it was erased or is not known.';
COMMENT ON COLUMN posts.erased_at IS 'When text, author and URL were erased, because the post or its author''s account was deleted.';
COMMENT ON COLUMN bi.recent_posts.text IS 'Text of the post; null if the post was deleted.';
COMMENT ON COLUMN bi.recent_posts.author IS 'Author of the post, as a keyed hash by default; often null, and null if the post was deleted.';
COMMENT ON COLUMN bi.recent_posts.url IS 'Address of the post; often null, and null if the post was deleted.';

-- The posts of a deletion are found by these. A B-tree over hashes of four bytes takes a quarter of one over the ids, and
-- two thirds of a hash index.
CREATE INDEX posts_id ON posts (hashtext(id));
CREATE INDEX posts_author ON posts (hashtext(author)) WHERE author IS NOT NULL;

CREATE TABLE erased_posts (
    id     text        PRIMARY KEY,
    at     timestamptz NOT NULL,
    reason text        NOT NULL,
    rows   bigint      NOT NULL DEFAULT 0
);
COMMENT ON TABLE erased_posts IS 'Deleted posts. A post with such an id is stored without text, author and URL, whenever it comes.';
COMMENT ON COLUMN erased_posts.at IS 'When the post was deleted, or when an operator asked for it.';
COMMENT ON COLUMN erased_posts.reason IS 'network: the network announced it; operator: emostream forget.';
COMMENT ON COLUMN erased_posts.rows IS 'Rows of posts that were erased when it was applied. Posts that came later are not counted.';

CREATE TABLE erased_authors (
    source text        NOT NULL,
    author text        NOT NULL,
    at     timestamptz NOT NULL,
    reason text        NOT NULL,
    rows   bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (source, author)
);
COMMENT ON TABLE erased_authors IS 'Deleted accounts. A post of such an author that was created until then is stored without text, author and URL.';
COMMENT ON COLUMN erased_authors.author IS 'Author as posts have it: a keyed hash by default.';
COMMENT ON COLUMN erased_authors.at IS 'When the account was last deleted, or when an operator last asked for it.';
COMMENT ON COLUMN erased_authors.reason IS 'network: the network announced it; operator: emostream forget.';
COMMENT ON COLUMN erased_authors.rows IS 'Rows of posts that were erased when it was applied. Posts that came later are not counted.';

-- The checksum of a range changes with its rows.
CREATE INDEX sink_ledger_origins ON sink_ledger (origin_topic, partition, first_origin);

-- For roles that an administrator makes later: all tables that the writer needs by now.
CREATE OR REPLACE FUNCTION grant_roles() RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    home      text := quote_ident(current_schema());
    database  text := quote_ident(current_database());
    role      text;
    statement text;
    missing   boolean := false;
BEGIN
    FOREACH role IN ARRAY ARRAY['emostream_writer', 'tableau'] LOOP
        CONTINUE WHEN to_regrole(role) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;  -- made elsewhere in this moment
            WHEN insufficient_privilege THEN
                missing := true;
                RAISE WARNING 'role % is missing and % may not create it; an administrator must run: CREATE ROLE % NOLOGIN; SELECT %.grant_roles();',
                    role, current_user, role, home;
        END;
    END LOOP;
    FOREACH statement IN ARRAY ARRAY[
        'GRANT CONNECT, TEMPORARY ON DATABASE ' || database || ' TO emostream_writer',
        'GRANT USAGE ON SCHEMA ' || home || ' TO emostream_writer',
        'GRANT SELECT ON schema_migrations TO emostream_writer',
        'GRANT SELECT, INSERT, UPDATE, DELETE ON posts, emotion_windows, emotion_window_labels, emotion_window_sentiments, model_versions, sink_offsets, sink_ledger, sink_gaps, sink_topics, erased_posts, erased_authors TO emostream_writer',
        'GRANT EXECUTE ON FUNCTION make_post_days(date[]) TO emostream_writer',
        'GRANT CONNECT ON DATABASE ' || database || ' TO tableau',
        'GRANT USAGE ON SCHEMA bi TO tableau',
        'GRANT SELECT ON ALL TABLES IN SCHEMA bi TO tableau',
        -- For each database, not for the role itself: a row that several databases change at once would fail one of them.
        'ALTER ROLE tableau IN DATABASE ' || database || ' SET default_transaction_read_only = on',
        'ALTER ROLE tableau IN DATABASE ' || database || ' SET statement_timeout = ''60s''',
        'ALTER ROLE tableau IN DATABASE ' || database || ' SET search_path = bi',
        'ALTER ROLE tableau IN DATABASE ' || database || ' SET timezone = ''UTC'''
    ] LOOP
        BEGIN
            EXECUTE statement;
        EXCEPTION
            WHEN undefined_object THEN
                IF NOT missing THEN
                    RAISE;
                END IF;
            WHEN insufficient_privilege THEN
                RAISE WARNING '% may not do this; an administrator must run: %;', current_user, statement;
        END;
    END LOOP;
END
$$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'emostream_writer') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON erased_posts, erased_authors TO emostream_writer;
    END IF;
END
$$;

INSERT INTO schema_migrations (version) VALUES (12) ON CONFLICT DO NOTHING;
