"""The sink: classified posts and windows to Postgres, offsets in the transaction that writes the rows."""
