"""The statements on the tables of alerts. `streams.alerts.storage.store` and its neighbours run them. Pure.

No statement runs once for each row in a pipeline: if a process is paused in a pipeline, the server sees a busy session
instead of one that is idle in a transaction, and would never end it.
"""

from __future__ import annotations

# Held to the end of a transaction that changes rules or mutes, so that limits and conditions hold.
LOCK_CHANGES = "SELECT pg_advisory_xact_lock(hashtextextended('emostream alert changes', 0))"

# Rules

RULE_COLUMNS = "id, revision, rule, changed_at"

RULES = f"SELECT {RULE_COLUMNS} FROM alert_rules WHERE deleted_at IS NULL ORDER BY id"

RULE = f"SELECT {RULE_COLUMNS} FROM alert_rules WHERE id = %(id)s AND deleted_at IS NULL"

# A rule that was deleted can be added again. Its revision goes on, so that no state of the former rule is taken for its
# own.
ADD_RULE = f"""
    INSERT INTO alert_rules (id, revision, rule) VALUES (%(id)s, 1, %(rule)s::jsonb)
    ON CONFLICT (id) DO UPDATE
    SET revision = alert_rules.revision + 1, rule = excluded.rule, changed_at = now(), deleted_at = NULL
    WHERE alert_rules.deleted_at IS NOT NULL
    RETURNING {RULE_COLUMNS}
"""

# A rule that stays the same keeps its revision, because a new one ends its incidents.
REPLACE_RULE = f"""
    UPDATE alert_rules SET
        revision = CASE WHEN rule = %(rule)s::jsonb THEN revision ELSE revision + 1 END,
        changed_at = CASE WHEN rule = %(rule)s::jsonb THEN changed_at ELSE now() END,
        rule = %(rule)s::jsonb
    WHERE id = %(id)s AND deleted_at IS NULL
    RETURNING {RULE_COLUMNS}
"""

DELETE_RULE = """
    UPDATE alert_rules SET revision = revision + 1, changed_at = now(), deleted_at = now()
    WHERE id = %(id)s AND deleted_at IS NULL
"""

RULE_REVISION = "SELECT revision FROM alert_rules WHERE id = %(id)s AND deleted_at IS NULL"

# Windows of the longest size up to an hour: few rows, of all posts.
_OF_WEEK = """
    SELECT DISTINCT label FROM {table}
    WHERE keyword = '*' AND start_at > now() - interval '7 days' AND size_s = (
        SELECT max(size_s) FROM emotion_windows
        WHERE keyword = '*' AND size_s <= 3600 AND start_at > now() - interval '7 days'
    )
"""
EMOTIONS_OF_WEEK = _OF_WEEK.format(table="emotion_window_labels")
SENTIMENTS_OF_WEEK = _OF_WEEK.format(table="emotion_window_sentiments")

RULE_IDS = "SELECT id FROM alert_rules WHERE deleted_at IS NULL ORDER BY id"

# Mutes

MUTE_COLUMNS = "id, rule_id, keyword, until, reason, created_at, ended_at"
"""In the order of the fields of `Mute`."""

ADD_MUTE = f"""
    INSERT INTO alert_mutes (rule_id, keyword, until, reason)
    VALUES (%(rule)s, %(keyword)s, %(until)s, %(reason)s) RETURNING {MUTE_COLUMNS}
"""

END_MUTE = f"""
    UPDATE alert_mutes SET ended_at = coalesce(ended_at, now()) WHERE id = %(id)s RETURNING {MUTE_COLUMNS}
"""

END_MUTES = f"""
    UPDATE alert_mutes SET ended_at = now()
    WHERE ended_at IS NULL AND until > now()
        AND rule_id IS NOT DISTINCT FROM %(rule)s AND keyword IS NOT DISTINCT FROM %(keyword)s
    RETURNING {MUTE_COLUMNS}
"""

COUNT_MUTES = "SELECT count(*) FROM alert_mutes WHERE ended_at IS NULL AND until > now()"

MUTES = f"""
    SELECT {MUTE_COLUMNS} FROM alert_mutes
    WHERE %(all)s OR (ended_at IS NULL AND until > now()) ORDER BY id DESC LIMIT %(limit)s
"""

# Incidents

INCIDENT_COLUMNS = """
    incident, rule_id, revision, rule_name, severity, keyword, size_s, measure, label, direction,
    began_at, decided_at, ended_at, ended_because, muted, reason, explained_at, found_at
"""
"""In the order of the fields of `Incident`."""

INCIDENT = f"SELECT {INCIDENT_COLUMNS} FROM alert_incidents WHERE incident = %(incident)s"

INCIDENTS = f"""
    SELECT {INCIDENT_COLUMNS} FROM alert_incidents
    WHERE (%(rule)s::text IS NULL OR rule_id = %(rule)s)
        AND (%(keyword)s::text IS NULL OR keyword = %(keyword)s)
        AND (%(severity)s::text IS NULL OR severity = %(severity)s)
        AND (%(open)s::boolean IS NULL OR (ended_at IS NULL) = %(open)s)
        AND (%(since)s::timestamptz IS NULL OR decided_at >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR decided_at < %(until)s)
        AND (%(after_at)s::timestamptz IS NULL OR decided_at < %(after_at)s
            OR (decided_at = %(after_at)s AND incident > %(after)s))
    ORDER BY decided_at DESC, incident LIMIT %(limit)s
"""

EXPLAIN = """
    UPDATE alert_incidents SET reason = %(reason)s::jsonb, explained_at = now()
    WHERE incident = %(incident)s AND explained_at IS NULL
"""

STORE_EXAMPLES = """
    INSERT INTO alert_examples (incident, id, source, author, created_at)
    SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[]) ON CONFLICT DO NOTHING
"""

# The evaluation

ADD_POSITIONS = """
    INSERT INTO alert_positions (topic, partition, next_offset, topic_id)
    SELECT %(topic)s, partition, next_offset, %(topic_id)s
    FROM unnest(%(partitions)s::integer[], %(offsets)s::bigint[]) AS new (partition, next_offset)
    ON CONFLICT DO NOTHING
"""

POSITIONS = "SELECT partition, next_offset, topic_id FROM alert_positions WHERE topic = %(topic)s ORDER BY partition"

DROP_POSITIONS = "DELETE FROM alert_positions WHERE topic = %(topic)s"

# The update waits for the commit of another evaluation, and makes the next one of it fail.
TAKE_POSITIONS = """
    UPDATE alert_positions SET holder = %(holder)s WHERE topic = %(topic)s
    RETURNING partition, next_offset
"""

LOCK_POSITIONS = """
    SELECT partition, next_offset, holder FROM alert_positions WHERE topic = %(topic)s ORDER BY partition FOR UPDATE
"""

MOVE_POSITIONS = """
    UPDATE alert_positions SET next_offset = new.next_offset
    FROM unnest(%(partitions)s::integer[], %(offsets)s::bigint[]) AS new (partition, next_offset)
    WHERE topic = %(topic)s AND alert_positions.partition = new.partition
"""

SERIES = "SELECT rule_id, keyword, state FROM alert_series"

STORE_SERIES = """
    INSERT INTO alert_series (rule_id, keyword, revision, state)
    SELECT rule_id, keyword, revision, state::jsonb
    FROM unnest(%(rules)s::text[], %(keywords)s::text[], %(revisions)s::bigint[], %(states)s::text[])
        AS new (rule_id, keyword, revision, state)
    ON CONFLICT (rule_id, keyword) DO UPDATE SET revision = excluded.revision, state = excluded.state
"""

FORGET_SERIES = """
    DELETE FROM alert_series USING unnest(%(rules)s::text[], %(keywords)s::text[]) AS gone (rule_id, keyword)
    WHERE (alert_series.rule_id, alert_series.keyword) = (gone.rule_id, gone.keyword)
"""

TICKS = "SELECT size_s, decided_to FROM alert_ticks"

STORE_TICKS = """
    INSERT INTO alert_ticks (size_s, decided_to)
    SELECT size_s, decided_to FROM unnest(%(sizes)s::integer[], %(ends)s::timestamptz[]) AS new (size_s, decided_to)
    ON CONFLICT (size_s) DO UPDATE SET decided_to = greatest(alert_ticks.decided_to, excluded.decided_to)
"""

OPEN_INCIDENTS = """
    INSERT INTO alert_incidents (
        incident, rule_id, revision, rule_name, severity, keyword, size_s, measure, label, direction,
        began_at, decided_at, value, usual, posts, reason, muted
    )
    SELECT
        incident, rule_id, revision, rule_name, severity, keyword, size_s, measure, label, direction,
        began_at, decided_at, value, usual, posts, reason,
        EXISTS (
            SELECT FROM alert_mutes AS mute
            WHERE mute.ended_at IS NULL AND mute.until > now()
                AND (mute.rule_id IS NULL OR mute.rule_id = new.rule_id)
                AND (mute.keyword IS NULL OR mute.keyword = new.keyword)
        )
    FROM jsonb_to_recordset(%(incidents)s::jsonb) AS new (
        incident text, rule_id text, revision bigint, rule_name text, severity text, keyword text, size_s integer,
        measure text, label text, direction text, began_at timestamptz, decided_at timestamptz,
        value double precision, usual double precision, posts bigint, reason jsonb
    )
    ON CONFLICT DO NOTHING
    RETURNING incident, muted
"""

CLOSE_INCIDENTS = """
    UPDATE alert_incidents SET ended_at = gone.ended_at, ended_because = gone.because
    FROM jsonb_to_recordset(%(incidents)s::jsonb) AS gone (incident text, ended_at timestamptz, because text)
    WHERE alert_incidents.incident = gone.incident AND alert_incidents.ended_at IS NULL
    RETURNING alert_incidents.incident, alert_incidents.severity
"""

TELL_OPENED = """
    INSERT INTO alert_outbox (incident, event, channel)
    SELECT incident, 'opened', channel
    FROM unnest(%(incidents)s::text[], %(channels)s::text[]) AS new (incident, channel)
    ON CONFLICT DO NOTHING
"""

# Who was told of the start is told of the end.
TELL_CLOSED = """
    INSERT INTO alert_outbox (incident, event, channel)
    SELECT incident, 'closed', channel FROM alert_outbox WHERE incident = ANY (%(incidents)s) AND event = 'opened'
    ON CONFLICT DO NOTHING
"""

# The outbox

DELIVERY_COLUMNS = "id, incident, event, channel, state, attempts, due_at, last_error, created_at, delivered_at"
"""In the order of the fields of `Delivery`."""

DELIVERIES = f"SELECT {DELIVERY_COLUMNS} FROM alert_outbox WHERE incident = %(incident)s ORDER BY id"

# The end of an incident waits until its start was delivered, or has failed.
CLAIM = f"""
    UPDATE alert_outbox SET attempts = attempts + 1, due_at = now() + make_interval(secs => %(lease_s)s)
    WHERE id IN (
        SELECT id FROM alert_outbox AS due
        WHERE state = 'waiting' AND channel = %(channel)s AND due_at <= now() AND NOT EXISTS (
            SELECT FROM alert_outbox AS before
            WHERE due.event = 'closed' AND before.event = 'opened' AND before.state = 'waiting'
                AND before.incident = due.incident AND before.channel = due.channel
        )
        ORDER BY (
            SELECT array_position(ARRAY['critical', 'warning', 'info'], severity)
            FROM alert_incidents WHERE alert_incidents.incident = due.incident
        ), due_at, id
        LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
    RETURNING {DELIVERY_COLUMNS}
"""

# In each of these, `attempts` is the number of the try: another process may have begun a later one.
DELIVERED = """
    UPDATE alert_outbox SET state = 'delivered', delivered_at = now(), last_error = NULL
    WHERE id = %(id)s AND attempts = %(attempts)s AND state = 'waiting'
"""

FAILED = """
    UPDATE alert_outbox SET state = 'failed', last_error = %(error)s
    WHERE id = %(id)s AND attempts = %(attempts)s AND state = 'waiting'
"""

RETRY = """
    UPDATE alert_outbox SET due_at = now() + make_interval(secs => %(wait_s)s), last_error = %(error)s
    WHERE id = %(id)s AND attempts = %(attempts)s AND state = 'waiting'
"""

DUE_CHANNELS = "SELECT DISTINCT channel FROM alert_outbox WHERE state = 'waiting' AND due_at <= now()"

FAIL_OTHERS = """
    UPDATE alert_outbox SET state = 'failed', last_error = %(error)s
    WHERE state = 'waiting' AND channel <> ALL (%(known)s::text[]) RETURNING channel
"""

BACKLOG = """
    SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'failed'),
        coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE state = 'waiting')), 0)::float8
    FROM alert_outbox WHERE state IN ('waiting', 'failed')
"""
