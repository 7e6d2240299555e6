from __future__ import annotations

import pytest

from benchmarks.simulation.clock import VirtualLoop


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": VirtualLoop}
