"""The fixtures of the integration tests, with servers that are started only for these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connectors.local import Endpoints
from tests.integration.conftest import env, model_uri, own_stack, running_servers, settings, start, store

__all__ = ["env", "model_uri", "own_stack", "settings", "start", "store"]


@pytest.fixture(scope="session")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    with running_servers(tmp_path_factory) as found:
        yield found
