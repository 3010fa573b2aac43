-- Two roles: emostream_writer, what the sink and the audit need and no more, for a login of the operator's; and
-- tableau, which reads the views of the schema bi and sees nothing else.

-- Roles belong to the server and its databases share them, so that this meets roles that are there, and migrations of
-- other databases at the same moment. What we may not do is told, as the statement that an administrator must run.
CREATE FUNCTION grant_roles() RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
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
        'GRANT SELECT, INSERT, UPDATE, DELETE ON posts, emotion_windows, emotion_window_labels, emotion_window_sentiments, model_versions, sink_offsets, sink_ledger, sink_gaps TO emostream_writer',
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
COMMENT ON FUNCTION grant_roles IS 'Makes the roles emostream_writer and tableau where they are missing, and gives them their rights in this database. May be repeated.';

REVOKE EXECUTE ON FUNCTION grant_roles(), make_post_days(date[]) FROM PUBLIC;
SELECT grant_roles();

INSERT INTO schema_migrations (version) VALUES (5) ON CONFLICT DO NOTHING;
