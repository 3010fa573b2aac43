-- make_post_days looked again, once it had the lock, whether another session had made the day meanwhile; but to_regclass
-- answers from the session's cache of names, where "there is none" stays until something else empties it. So of two sinks
-- that needed the same new day at once, the second failed. This asks the catalogue itself.

CREATE OR REPLACE FUNCTION make_post_days(days date[]) RETURNS integer
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
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_class WHERE relname = name AND relnamespace = current_schema()::regnamespace
        );
        EXECUTE format('CREATE TABLE %I (LIKE posts INCLUDING ALL EXCLUDING INDEXES)', name);
        EXECUTE format(
            'ALTER TABLE posts ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, since, since + interval '24 hours'
        );
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
-- Replacing a function takes its settings away.
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION make_post_days(date[]) SET search_path = %I, pg_temp', current_schema());
END
$$;

INSERT INTO schema_migrations (version) VALUES (6) ON CONFLICT DO NOTHING;
