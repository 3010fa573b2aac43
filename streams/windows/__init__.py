"""Event-time tumbling windows: arithmetic and deltas (pure), the Redis tables, and their emission."""
