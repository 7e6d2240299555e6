"""A user's program without await; mypy and pyright check it, and know of each call what it takes and gives."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

from asyncfetch import blocking
from asyncfetch.blocking import Client, Query, Settings


def main(base_url: str, folder: Path) -> None:
    out = folder / "blocking.zarr"
    calm = Settings(base_url=base_url, requests_per_s=1000.0)

    cost = blocking.estimate("dataset:900000005", settings=calm, um=200)
    assert_type(cost, blocking.Estimate)

    report = blocking.mirror("dataset:900000005", out, settings=calm, um=200.0, roi_space=9, fill=7)
    assert_type(report, blocking.Report)
    assert_type(blocking.resume(out, settings=calm, jobs=4), blocking.Report)
    assert_type(blocking.rebuild(out, layers=("registered",), um=400, workers=1), blocking.Report)
    assert_type(blocking.upgrade(out, workers=1), blocking.Report)
    assert_type(blocking.volume(out, max_gap_um=3000), blocking.VolumeReport)
    assert_type(blocking.verify(out, full=True), blocking.VerifyReport)
    exported = blocking.export(
        out, "dataset:900000005", format="nifti", folder=folder / "files", color="grey"
    )
    assert_type(exported, blocking.ExportReport)
    assert_type(blocking.open(out), blocking.Store)

    with Client(settings=calm) as allen:
        rows = allen.rows(Query("Product").where(id=1))
        print(rows[0]["id"])


def mistakes(out: Path) -> None:
    blocking.mirror("product:1", out, umm=25)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    blocking.mirror("product:1", out, um="fine")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    blocking.mirror("product:1", out, Settings())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    blocking.estimate("product:1", layer=("source",))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    blocking.export(out, format="nifti")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    blocking.export(out, format="nifti", folder=out, colour=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    blocking.export(out, format="nifti", folder=out, color=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    blocking.resume(out, um=25)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    blocking.rebuild(out, views=("image",))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    blocking.rebuild(out, ("sections",))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    blocking.volume(out, pitch_um=25)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    blocking.verify(out, repairs=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
