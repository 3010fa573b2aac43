"""A fixture for test modules that stop servers while their processes run."""

from __future__ import annotations

import pytest

from connectors.local import Endpoints, LocalStack


@pytest.fixture(scope="module")
def endpoints(own_stack: LocalStack) -> Endpoints:
    """Returns the addresses of the module's own servers. It replaces the fixture of the shared servers."""
    own = own_stack.endpoints()
    assert own is not None
    return own
