"""A user's program with await; mypy and pyright check it, and know of each call what it takes and gives."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import asyncfetch
from asyncfetch import Client, Query, Settings


async def main(base_url: str, folder: Path) -> None:
    out = folder / "awaited.zarr"
    calm = Settings(base_url=base_url, requests_per_s=1000.0)

    cost = await asyncfetch.estimate("dataset:900000005", settings=calm, um=200)
    assert_type(cost, asyncfetch.Estimate)
    assert_type(cost.minutes, float)

    report = await asyncfetch.mirror(
        "dataset:900000005",
        out,
        settings=calm,
        um=200.0,
        layers=("source", "registered"),
        views=("image",),
        codec="zstd",
        jobs="auto",
        wait=True,
    )
    assert_type(report, asyncfetch.Report)
    assert_type(report.n_committed, int)
    assert_type(await asyncfetch.resume(out, settings=calm, jobs=4), asyncfetch.Report)
    assert_type(await asyncfetch.rebuild(out, layers=("registered",), um=400, workers=1), asyncfetch.Report)
    assert_type(await asyncfetch.upgrade(out, workers=1), asyncfetch.Report)
    assert_type(await asyncfetch.volume(out, max_gap_um=3000), asyncfetch.VolumeReport)
    assert_type(await asyncfetch.verify(out, full=True), asyncfetch.VerifyReport)
    assert_type(asyncfetch.open(out), asyncfetch.Store)

    async with Client(settings=calm) as allen:
        rows = await allen.rows(Query("Product").where(id=1))
        print(rows[0]["id"])


async def mistakes(out: Path) -> None:
    await asyncfetch.mirror("product:1", out, umm=25)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await asyncfetch.mirror("product:1", out, um="fine")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await asyncfetch.mirror("product:1", out, codec="zip")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await asyncfetch.mirror("product:1", out, Settings())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await asyncfetch.estimate("product:1", layer=("source",))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await asyncfetch.resume(out, um=25)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await asyncfetch.rebuild(out, views=("image",))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await asyncfetch.rebuild(out, ("sections",))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await asyncfetch.volume(out, pitch_um=25)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await asyncfetch.verify(out, repairs=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await asyncfetch.mirrors("product:1", out)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
