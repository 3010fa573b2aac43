"""Who may call the HTTP service, and how often: API keys, OIDC tokens and rate limits."""
