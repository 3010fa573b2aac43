-- The posts of a keyword are found by this. It takes a sixteenth of the space of the posts.

CREATE INDEX posts_keywords ON posts USING gin (keywords);

INSERT INTO schema_migrations (version) VALUES (14) ON CONFLICT DO NOTHING;
