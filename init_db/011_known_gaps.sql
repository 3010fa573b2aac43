-- An operator can mark a gap as known, so that the audit no longer fails because of it.

ALTER TABLE sink_gaps ADD COLUMN IF NOT EXISTS known_at timestamptz;
COMMENT ON COLUMN sink_gaps.known_at IS 'When an operator has marked the gap as known; the audit fails because of the others. Null again when the gap grows.';

INSERT INTO schema_migrations (version) VALUES (11) ON CONFLICT DO NOTHING;
