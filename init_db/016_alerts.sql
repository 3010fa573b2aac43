-- Alerts: rules, the incidents that they find, what was told to whom, and where the evaluation stands.

CREATE TABLE alert_rules (
    id         text        PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    revision   bigint      NOT NULL CHECK (revision > 0),
    rule       jsonb       NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
COMMENT ON TABLE alert_rules IS 'Rules of alerts. A deleted rule stays, because incidents name it.';
COMMENT ON COLUMN alert_rules.revision IS 'Rises with every change of the rule, also when it is deleted and added again.';
COMMENT ON COLUMN alert_rules.rule IS 'The rule as the API and the command line read it.';
COMMENT ON COLUMN alert_rules.deleted_at IS 'When the rule was deleted; null if it was not.';

CREATE TABLE alert_mutes (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_id    text,
    keyword    text,
    until      timestamptz NOT NULL,
    reason     text        NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);
COMMENT ON TABLE alert_mutes IS 'Incidents that are recorded and told to no channel.';
COMMENT ON COLUMN alert_mutes.rule_id IS 'The rule; null for every rule.';
COMMENT ON COLUMN alert_mutes.keyword IS 'The keyword; null for every keyword.';
COMMENT ON COLUMN alert_mutes.ended_at IS 'When the mute was ended before its time; null if it was not.';

CREATE TABLE alert_positions (
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    topic_id    text    NOT NULL DEFAULT '',
    holder      text    NOT NULL DEFAULT '',
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE alert_positions IS 'Where the evaluation stands in the windows topic: changed only together with what it decides.';
COMMENT ON COLUMN alert_positions.topic_id IS 'Kafka''s id of the topic, which tells whether it was deleted and made again.';
COMMENT ON COLUMN alert_positions.holder IS 'The evaluation that read the positions last: no other one may move them.';

CREATE TABLE alert_series (
    rule_id  text   NOT NULL,
    keyword  text   NOT NULL,
    revision bigint NOT NULL,
    state    jsonb  NOT NULL,
    PRIMARY KEY (rule_id, keyword)
);
COMMENT ON TABLE alert_series IS 'The state of each series of a rule that is not at rest.';

CREATE TABLE alert_ticks (
    size_s     integer     PRIMARY KEY,
    decided_to timestamptz NOT NULL
);
COMMENT ON TABLE alert_ticks IS 'For each size: the end of the last windows that are decided. Those before change nothing.';

CREATE TABLE alert_incidents (
    incident   text             PRIMARY KEY,
    rule_id    text             NOT NULL,
    revision   bigint           NOT NULL,
    rule_name  text             NOT NULL,
    severity   text             NOT NULL,
    keyword    text             NOT NULL,
    size_s     integer          NOT NULL,
    measure    text             NOT NULL,
    label      text,
    direction  text             NOT NULL,
    began_at   timestamptz      NOT NULL,
    decided_at timestamptz      NOT NULL,
    ended_at   timestamptz,
    ended_because text,
    value      double precision NOT NULL,
    usual      double precision,
    posts      bigint           NOT NULL,
    muted      boolean          NOT NULL DEFAULT false,
    reason     jsonb            NOT NULL,
    explained_at timestamptz,
    found_at   timestamptz      NOT NULL DEFAULT now()
);
COMMENT ON TABLE alert_incidents IS 'Incidents, each once.';
COMMENT ON COLUMN alert_incidents.incident IS 'Rule, keyword and first window of the incident: the same in each evaluation.';
COMMENT ON COLUMN alert_incidents.began_at IS 'Start of the first window that fulfils the rule.';
COMMENT ON COLUMN alert_incidents.decided_at IS 'End of the window with which the incident was certain.';
COMMENT ON COLUMN alert_incidents.ended_at IS 'End of the window that ended the incident; null while it is open.';
COMMENT ON COLUMN alert_incidents.explained_at IS 'When the words and example posts were added to the reason, before the first delivery; null until then.';
CREATE INDEX alert_incidents_decided_at ON alert_incidents (decided_at DESC, incident);
CREATE INDEX alert_incidents_open ON alert_incidents (rule_id, keyword) WHERE ended_at IS NULL;

CREATE TABLE alert_examples (
    incident   text        NOT NULL REFERENCES alert_incidents ON DELETE CASCADE,
    id         text        NOT NULL,
    source     text        NOT NULL,
    author     text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (incident, id)
);
COMMENT ON TABLE alert_examples IS 'Which posts are examples in the reasons of incidents, so that they are found when a post or an account is deleted.';
COMMENT ON COLUMN alert_examples.author IS 'Author as posts have it: a keyed hash by default. The reason does not have it.';
CREATE INDEX alert_examples_id ON alert_examples (hashtext(id));
CREATE INDEX alert_examples_author ON alert_examples (hashtext(author)) WHERE author IS NOT NULL;

CREATE TABLE alert_outbox (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident     text        NOT NULL REFERENCES alert_incidents,
    event        text        NOT NULL CHECK (event IN ('opened', 'closed')),
    channel      text        NOT NULL,
    state        text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed', 'muted')),
    attempts     integer     NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL DEFAULT now(),
    last_error   text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    UNIQUE (incident, event, channel)
);
COMMENT ON TABLE alert_outbox IS 'What is told to whom: one row for each event of an incident and each channel, written together with the incident.';
COMMENT ON COLUMN alert_outbox.channel IS 'A channel of the channels file; an empty text for the topic of alerts.';
COMMENT ON COLUMN alert_outbox.attempts IS 'Tries that began. A try that ends changes the row only if no other began meanwhile.';
COMMENT ON COLUMN alert_outbox.due_at IS 'When the next try begins; during a try, when another process may try.';
COMMENT ON COLUMN alert_outbox.last_error IS 'Why the last try failed, without secrets.';
CREATE INDEX alert_outbox_waiting ON alert_outbox (due_at) WHERE state = 'waiting';

CREATE VIEW bi.alerts AS
SELECT
    incident, rule_id AS rule, rule_name, severity, CASE keyword WHEN '*' THEN 'all posts' ELSE keyword END AS keyword,
    size_s AS window_seconds, measure, label, direction, began_at, decided_at, ended_at, ended_because, value, usual, posts,
    muted, reason ->> 'summary' AS summary
FROM alert_incidents;
COMMENT ON VIEW bi.alerts IS 'Incidents of the alert rules: one row per incident.';
COMMENT ON COLUMN bi.alerts.incident IS 'Rule, keyword and first window of the incident: its key in every record and message.';
COMMENT ON COLUMN bi.alerts.rule IS 'Id of the rule.';
COMMENT ON COLUMN bi.alerts.rule_name IS 'What people read of the rule.';
COMMENT ON COLUMN bi.alerts.severity IS 'How urgent it is: info, warning or critical.';
COMMENT ON COLUMN bi.alerts.keyword IS 'Keyword of the posts, or the words "all posts".';
COMMENT ON COLUMN bi.alerts.window_seconds IS 'Size of the windows that the rule watches, in seconds.';
COMMENT ON COLUMN bi.alerts.measure IS 'What the rule measures: volume, emotion or sentiment.';
COMMENT ON COLUMN bi.alerts.label IS 'Emotion or sentiment whose share is measured; empty for a volume.';
COMMENT ON COLUMN bi.alerts.direction IS 'On which side of its limit the value is an incident: above or below.';
COMMENT ON COLUMN bi.alerts.began_at IS 'Start of the first window that fulfils the rule.';
COMMENT ON COLUMN bi.alerts.decided_at IS 'End of the window with which the incident was certain.';
COMMENT ON COLUMN bi.alerts.ended_at IS 'End of the window that ended the incident; empty while it is open.';
COMMENT ON COLUMN bi.alerts.ended_because IS 'Why it ended; empty while it is open.';
COMMENT ON COLUMN bi.alerts.value IS 'Value of the window with which the incident was certain: posts for a volume, percent for a share.';
COMMENT ON COLUMN bi.alerts.usual IS 'Usual value at this hour of the day and week; empty for a rule that does not use it.';
COMMENT ON COLUMN bi.alerts.posts IS 'Number of posts of this window.';
COMMENT ON COLUMN bi.alerts.muted IS 'Whether it was muted when it began, so that no channel was told.';
COMMENT ON COLUMN bi.alerts.summary IS 'Why there is an incident, in a sentence.';

-- The function of 013 with the new tables.
CREATE OR REPLACE FUNCTION grant_roles(wanted text[] DEFAULT ARRAY['emostream_writer', 'tableau', 'emostream_api'])
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
        ('emostream_writer', 'GRANT SELECT, INSERT, UPDATE, DELETE ON posts, emotion_windows, emotion_window_labels, emotion_window_sentiments, model_versions, sink_offsets, sink_ledger, sink_gaps, sink_topics, erased_posts, erased_authors, alert_rules, alert_mutes, alert_positions, alert_series, alert_ticks, alert_incidents, alert_examples, alert_outbox TO emostream_writer'),
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
        ('emostream_api', 'GRANT SELECT ON schema_migrations, posts, emotion_windows, emotion_window_labels, emotion_window_sentiments, model_versions, sink_offsets, sink_ledger, sink_gaps, sink_topics, erased_posts, erased_authors, hour_parts, hourly_windows, hourly_languages, api_keys, alert_rules, alert_mutes, alert_positions, alert_series, alert_ticks, alert_incidents, alert_outbox TO emostream_api'),
        ('emostream_api', 'GRANT UPDATE (last_used_on) ON api_keys TO emostream_api'),
        ('emostream_api', 'GRANT INSERT, UPDATE ON alert_rules, alert_mutes TO emostream_api')
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

-- A role that exists gets the rights at once. A role that is missing gets them from grant_roles, when there is one.
DO $$
BEGIN
    IF to_regrole('emostream_writer') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON alert_rules, alert_mutes, alert_positions, alert_series, alert_ticks, alert_incidents, alert_examples, alert_outbox TO emostream_writer;
    END IF;
    IF to_regrole('emostream_api') IS NOT NULL THEN
        GRANT SELECT ON alert_rules, alert_mutes, alert_positions, alert_series, alert_ticks, alert_incidents, alert_outbox TO emostream_api;
        GRANT INSERT, UPDATE ON alert_rules, alert_mutes TO emostream_api;
    END IF;
    IF to_regrole('tableau') IS NOT NULL THEN
        GRANT SELECT ON bi.alerts TO tableau;
    END IF;
END
$$;

COMMENT ON COLUMN api_keys.scopes IS 'What the key allows: query, predict, read, live, alerts. Others are ignored.';

INSERT INTO schema_migrations (version) VALUES (16) ON CONFLICT DO NOTHING;
