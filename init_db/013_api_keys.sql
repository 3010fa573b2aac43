-- Keys of the HTTP service, and a role for a login of the service: emostream_api reads history and keys, and no more.

CREATE TABLE api_keys (
    id                  text        PRIMARY KEY CHECK (id ~ '^[0-9a-z]{10}$'),
    name                text        NOT NULL CHECK (name <> ''),
    -- Secrets have 256 random bits, so a hash that is fast to compute tells nobody anything.
    secret_sha256       bytea       NOT NULL CHECK (octet_length(secret_sha256) = 32),
    scopes              text[]      NOT NULL,
    requests_per_minute integer     CHECK (requests_per_minute >= 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    expires_at          timestamptz,
    revoked_at          timestamptz,
    last_used_on        date
);
COMMENT ON TABLE api_keys IS 'API keys of the HTTP service. The keys themselves are not stored.';
COMMENT ON COLUMN api_keys.id IS 'The part of the key that may be shown: emo_<id>_<secret>.';
COMMENT ON COLUMN api_keys.name IS 'Who uses the key, as given to emostream keys add.';
COMMENT ON COLUMN api_keys.secret_sha256 IS 'SHA-256 of the secret part of the key.';
COMMENT ON COLUMN api_keys.scopes IS 'What the key allows: query, predict, read, live. Others are ignored.';
COMMENT ON COLUMN api_keys.requests_per_minute IS 'Requests a minute; null for EMOSTREAM_API_REQUESTS_PER_MINUTE, 0 for no limit.';
COMMENT ON COLUMN api_keys.expires_at IS 'From when on the key is refused; null for never.';
COMMENT ON COLUMN api_keys.revoked_at IS 'When the key was revoked; null if it was not.';
COMMENT ON COLUMN api_keys.last_used_on IS 'Day in UTC on which the key was last used; null if it was not. Written once a day.';

-- The roles can now be chosen, so that a migration that adds one does not repeat the warnings about the others.
DROP FUNCTION grant_roles();
CREATE FUNCTION grant_roles(wanted text[] DEFAULT ARRAY['emostream_writer', 'tableau', 'emostream_api'])
RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    home      text := quote_ident(current_schema());
    database  text := quote_ident(current_database());
    role      text;
    statement text;
BEGIN
    FOREACH role IN ARRAY wanted LOOP
        CONTINUE WHEN to_regrole(role) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;  -- made elsewhere in this moment
            WHEN insufficient_privilege THEN
                RAISE WARNING 'role % is missing and % may not create it; an administrator must run: CREATE ROLE % NOLOGIN; SELECT %.grant_roles();',
                    role, current_user, role, home;
        END;
    END LOOP;
    FOR role, statement IN SELECT * FROM (VALUES
        ('emostream_writer', 'GRANT CONNECT, TEMPORARY ON DATABASE ' || database || ' TO emostream_writer'),
        ('emostream_writer', 'GRANT USAGE ON SCHEMA ' || home || ' TO emostream_writer'),
        ('emostream_writer', 'GRANT SELECT ON schema_migrations TO emostream_writer'),
        ('emostream_writer', 'GRANT SELECT, INSERT, UPDATE, DELETE ON posts, emotion_windows, emotion_window_labels, emotion_window_sentiments, model_versions, sink_offsets, sink_ledger, sink_gaps, sink_topics, erased_posts, erased_authors TO emostream_writer'),
        ('emostream_writer', 'GRANT EXECUTE ON FUNCTION make_post_days(date[]) TO emostream_writer'),
        ('tableau', 'GRANT CONNECT ON DATABASE ' || database || ' TO tableau'),
        ('tableau', 'GRANT USAGE ON SCHEMA bi TO tableau'),
        ('tableau', 'GRANT SELECT ON ALL TABLES IN SCHEMA bi TO tableau'),
        -- For each database, not for the role itself: a row that several databases change at once would fail one of them.
        ('tableau', 'ALTER ROLE tableau IN DATABASE ' || database || ' SET default_transaction_read_only = on'),
        ('tableau', 'ALTER ROLE tableau IN DATABASE ' || database || ' SET statement_timeout = ''60s'''),
        ('tableau', 'ALTER ROLE tableau IN DATABASE ' || database || ' SET search_path = bi'),
        ('tableau', 'ALTER ROLE tableau IN DATABASE ' || database || ' SET timezone = ''UTC'''),
        ('emostream_api', 'GRANT CONNECT ON DATABASE ' || database || ' TO emostream_api'),
        ('emostream_api', 'GRANT USAGE ON SCHEMA ' || home || ' TO emostream_api'),
        ('emostream_api', 'GRANT SELECT ON schema_migrations, posts, emotion_windows, emotion_window_labels, emotion_window_sentiments, model_versions, sink_offsets, sink_ledger, sink_gaps, sink_topics, erased_posts, erased_authors, hour_parts, hourly_windows, hourly_languages, api_keys TO emostream_api'),
        ('emostream_api', 'GRANT UPDATE (last_used_on) ON api_keys TO emostream_api')
    ) AS rights (for_role, text) WHERE for_role = ANY (wanted) LOOP
        BEGIN
            EXECUTE statement;
        EXCEPTION
            WHEN undefined_object THEN
                IF to_regrole(role) IS NOT NULL THEN
                    RAISE;
                END IF;
            WHEN insufficient_privilege THEN
                RAISE WARNING '% may not do this; an administrator must run: %;', current_user, statement;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION grant_roles IS 'Makes the wanted roles where they are missing, and gives them their rights in this database. May be repeated.';

REVOKE EXECUTE ON FUNCTION grant_roles(text[]) FROM PUBLIC;
SELECT grant_roles(ARRAY['emostream_api']);

INSERT INTO schema_migrations (version) VALUES (13) ON CONFLICT DO NOTHING;
