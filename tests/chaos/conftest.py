"""The servers and roles of the integration tests, started for these tests alone."""

from __future__ import annotations

from tests.integration.conftest import endpoints, env, model_uri, own_stack, settings, start, store

__all__ = ["endpoints", "env", "model_uri", "own_stack", "settings", "start", "store"]
