"""A client that goes away is nobody's error."""

from __future__ import annotations

import asyncio
import logging

import anyio
import anyio.lowlevel
import pytest

from asyncfetch.replica import open_replica


@pytest.mark.anyio
async def test_a_client_that_hangs_up_before_the_answer_leaves_no_traceback(caplog):
    caplog.set_level(logging.ERROR)
    async with open_replica(latency_s=0.1) as replica:
        row = next(row for row in replica.atlas.tables["SectionImage"] if row["data_set_id"] == 900000005)
        port = int(replica.base_url.rpartition(":")[2])
        path = f"/api/v2/image_download/{row['id']}?downsample=3"
        hasty = await anyio.connect_tcp("127.0.0.1", port)
        await hasty.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        location = (await hasty.receive()).split(b"\r\nLocation: ")[1].split(b"\r\n")[0].decode()
        await hasty.send(f"GET {location} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        await hasty.aclose()
        # the same latency holds this one back until the first was answered
        patient = await anyio.connect_tcp("127.0.0.1", port)
        await patient.send(
            f"GET {location} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        )
        assert (await patient.receive()).startswith(b"HTTP/1.1 200")
        await patient.aclose()
    assert not caplog.records


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["never", "stall"])
async def test_a_reply_that_never_ends_is_not_kept_for_a_client_that_has_gone(fault):
    before = asyncio.all_tasks()
    image_id = 900001005
    async with open_replica(faults={image_id: fault}) as replica:
        path = replica.atlas.image_path(image_id, "image")
        hasty = await anyio.connect_tcp("127.0.0.1", int(replica.base_url.rpartition(":")[2]))
        request = f"GET /cgi-bin/imageservice?path={path}&downsample=5 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        await hasty.send(request.encode())
        while not any(record.fault for record in replica.requests):
            await anyio.lowlevel.checkpoint()
        await hasty.aclose()
    # one hour is how long such a reply is held
    assert asyncio.all_tasks() == before
