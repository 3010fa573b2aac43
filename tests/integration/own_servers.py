"""A fixture for tests that stop the servers under their processes."""

from __future__ import annotations

import pytest

from connectors.local import Endpoints, LocalStack


@pytest.fixture(scope="module")
def endpoints(own_stack: LocalStack) -> Endpoints:
    """Where the module's own servers listen; in place of those that all tests share."""
    found = own_stack.endpoints()
    assert found is not None
    return found
