"""A small service: rows and images by rule, at a transport."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np
import pytest

from asyncfetch.engine import Reply
from asyncfetch.errors import NotFoundError
from asyncfetch.imaging import encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class FakeService:
    """Answers to queries by model, paged, and to images by id; ``faults`` come first, one per request."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.images: dict[int, bytes | Exception] = {}
        self.faults: list[bytes | Exception] = []
        self.criteria: list[str] = []
        self.urls: list[str] = []
        self.limits: list[int] = []
        self.announced: int | None = None
        self.is_closed = False

    async def fetch(
        self,
        url: str,
        limit_bytes: int,
        on_bytes: Callable[[int], Awaitable[None]] | None = None,
        *,
        fresh: bool = False,
    ) -> Reply:
        self.urls.append(url)
        self.limits.append(limit_bytes)
        return Reply(url, 200, {}, bytearray(self._answer(url)), 0.0)

    async def aclose(self) -> None:
        self.is_closed = True

    def _answer(self, url: str) -> bytes:
        parts = urlsplit(url)
        if parts.path == "/api/v2/data/query.json":
            self.criteria.append(parse_qs(parts.query)["criteria"][0])
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            return fault
        if parts.path == "/api/v2/data/query.json":
            return self._page(self.criteria[-1])
        image_id = int(parts.path.rsplit("/", 1)[1])
        if image_id not in self.images:
            raise NotFoundError(f"{url} does not exist", url=url)
        image = self.images[image_id]
        if isinstance(image, Exception):
            raise image
        return image

    def _page(self, criteria: str) -> bytes:
        model, num_rows, start_row = (
            re.search(pattern, criteria)[1]  # type: ignore[index]
            for pattern in (r"model::(\w+)", r"num_rows\$eq(\d+)", r"start_row\$eq(\d+)")
        )
        rows = self.tables.get(model, [])
        for column, value in re.findall(r"\[(\w+)\$(?:eq|in)(\d+)\]", criteria.split("rma::options")[0]):
            rows = [row for row in rows if str(row[column]) == value]
        page = rows[int(start_row) : int(start_row) + int(num_rows)]
        total = len(rows) if self.announced is None else self.announced
        envelope = {"success": True, "id": 0, "start_row": int(start_row), "num_rows": len(page)}
        return msgspec.json.encode(envelope | {"total_rows": total, "msg": page})


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def pixels() -> np.ndarray:
    y, x = np.mgrid[:48, :64]
    return np.stack([x * 4, y * 5, x + y], axis=-1).astype(np.uint8)


@pytest.fixture
def jpeg(pixels) -> bytes:
    return bytes(encode(pixels))
