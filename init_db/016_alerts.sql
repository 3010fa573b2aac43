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
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE alert_positions IS 'Where the evaluation stands in the windows topic: changed only together with what it decides.';
COMMENT ON COLUMN alert_positions.topic_id IS 'Kafka''s id of the topic, which tells whether it was deleted and made again.';

CREATE TABLE alert_series (
    rule_id  text   NOT NULL,
    keyword  text   NOT NULL,
    revision bigint NOT NULL,
    state    jsonb  NOT NULL,
    PRIMARY KEY (rule_id, keyword)
);
COMMENT ON TABLE alert_series IS 'The state of each series of a rule that is not at rest.';

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
    found_at   timestamptz      NOT NULL DEFAULT now()
);
COMMENT ON TABLE alert_incidents IS 'Incidents, each once.';
COMMENT ON COLUMN alert_incidents.incident IS 'Rule, keyword and first window of the incident: the same in each evaluation.';
COMMENT ON COLUMN alert_incidents.began_at IS 'Start of the first window that fulfils the rule.';
COMMENT ON COLUMN alert_incidents.decided_at IS 'End of the window with which the incident was certain.';
COMMENT ON COLUMN alert_incidents.ended_at IS 'End of the window that ended the incident; null while it is open.';
CREATE INDEX alert_incidents_decided_at ON alert_incidents (decided_at DESC, incident);
CREATE INDEX alert_incidents_open ON alert_incidents (rule_id, keyword) WHERE ended_at IS NULL;

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
COMMENT ON COLUMN alert_outbox.due_at IS 'When the next try is made.';
COMMENT ON COLUMN alert_outbox.last_error IS 'Why the last try failed, without secrets.';
CREATE INDEX alert_outbox_waiting ON alert_outbox (due_at) WHERE state = 'waiting';

CREATE VIEW bi.alerts AS
SELECT
    incident, rule_id AS rule, rule_name, severity, CASE keyword WHEN '*' THEN 'all posts' ELSE keyword END AS keyword,
    size_s AS window_seconds, measure, label, direction, began_at, decided_at, ended_at, ended_because, value, usual, posts,
    muted, reason ->> 'summary' AS summary
FROM alert_incidents;
COMMENT ON VIEW bi.alerts IS 'Incidents of the alert rules: one row per incident.';
COMMENT ON COLUMN bi.alerts.value IS 'Value of the window with which the incident was certain: posts for a volume, percent for a share.';
COMMENT ON COLUMN bi.alerts.usual IS 'Usual value at this hour of the day and week; empty for a rule that does not use it.';
COMMENT ON COLUMN bi.alerts.ended_at IS 'End of the window that ended the incident; empty while it is open.';

-- Whoever may make this schema gives the rights of the new tables to the roles that exist.
DO $$
DECLARE
    statement text;
    role      text;
BEGIN
    FOR role, statement IN SELECT * FROM (VALUES
        ('emostream_writer', 'GRANT SELECT, INSERT, UPDATE, DELETE ON alert_rules, alert_mutes, alert_positions, alert_series, alert_incidents, alert_outbox TO emostream_writer'),
        ('emostream_api', 'GRANT SELECT ON alert_rules, alert_mutes, alert_positions, alert_series, alert_incidents, alert_outbox TO emostream_api'),
        ('emostream_api', 'GRANT INSERT, UPDATE ON alert_rules, alert_mutes TO emostream_api'),
        ('tableau', 'GRANT SELECT ON bi.alerts TO tableau')
    ) AS rights (for_role, text) LOOP
        CONTINUE WHEN to_regrole(role) IS NULL;
        EXECUTE statement;
    END LOOP;
END
$$;

INSERT INTO schema_migrations (version) VALUES (16) ON CONFLICT DO NOTHING;
