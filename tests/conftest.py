"""What every test shares."""

from __future__ import annotations

from pathlib import Path

import pytest

RECORDED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def recorded() -> Path:
    """Return the folder of recorded answers of the real service, where it is at hand."""
    if not RECORDED.is_dir():
        pytest.skip("the recorded answers are not beside this checkout")
    return RECORDED
