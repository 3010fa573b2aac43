"""Who may call the HTTP service, and how often: API keys, OIDC tokens and rate limits.

`access.Access` is what the service uses. Nothing here knows an HTTP framework.
"""
