"""Rules, mutes, incidents and deliveries in Postgres."""
