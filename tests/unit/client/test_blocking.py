from __future__ import annotations

import numpy as np
import pytest

from asyncfetch.allen import Query
from asyncfetch.client import BlockingClient
from asyncfetch.errors import NotFoundError
from asyncfetch.imaging import decode
from asyncfetch.settings import Settings

FREE = Settings(base_url="http://x", requests_per_s=1e6, page_rows=3, workers=1, attempts=1)


def test_the_verbs_work_without_await(service, jpeg):
    service.images[5] = jpeg
    service.tables["SectionDataSet"] = [{"id": 7, "section_thickness": 25.0}]
    service.tables["SectionImage"] = [{"id": 9, "data_set_id": 7, "width": 40, "height": 30}]
    with BlockingClient(settings=FREE, transport=service) as client:
        assert client.rows(Query("SectionImage")) == service.tables["SectionImage"]
        assert client.data_set(7).section_images == (client.section_image(9),)
        assert client.image_bytes(5) == jpeg
        assert np.array_equal(client.image(5, downsample=1), decode(jpeg))
        assert "BlockingClient(Client('http://x'" in repr(client)
    assert service.is_closed


def test_errors_come_out_as_they_are(service):
    with BlockingClient(settings=FREE, transport=service) as client, pytest.raises(NotFoundError):
        client.image(5)


def test_a_client_that_is_not_open_says_so(service):
    client = BlockingClient(settings=FREE, transport=service)
    with pytest.raises(RuntimeError, match="not open"):
        client.image(5)
    assert repr(client) == "BlockingClient(closed)"
