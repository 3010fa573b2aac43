"""The fixtures of the integration tests, with servers that are started only for these tests."""

from __future__ import annotations

from tests.integration.conftest import endpoints, env, model_uri, own_stack, settings, start, store

__all__ = ["endpoints", "env", "model_uri", "own_stack", "settings", "start", "store"]
