"""The kinds of work that whole runs are compared on, who does each, and the bars."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from asyncfetch.sample import LARGE_DATA_SET_ID, sample_atlas

__all__ = ["KINDS", "OURS", "Contender", "Kind", "Link", "images_of", "megapixels_of"]

#: The contender that the others are compared with.
OURS = "asyncfetch"
_DATA_SET_ID = 123
_ALL_LAYERS = "source,sections,registered"


@dataclass(frozen=True)
class Contender:
    """One way of doing the work.

    Attributes
    ----------
    name : str
        In tables.
    program : str
        A module of `benchmarks.contenders`.
    peer : str or None
        The package whose environment it needs.
    bar : float or None
        How many times its throughput ours has to reach.
    n_images : int or None
        At most so many images, where all would take too long; figures are quoted an image.
    changes : dict
        Fields of the job that differ.
    """

    name: str
    program: str
    peer: str | None = None
    bar: float | None = None
    n_images: int | None = None
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """The shape of the replica's replies: seconds before each, and bytes per second of one connection."""

    latency_s: float
    bytes_per_s: float

    def __str__(self) -> str:
        return f"{self.latency_s * 1e3:g} ms and {self.bytes_per_s / 1e6:g} MB/s a connection"


@dataclass(frozen=True)
class Kind:
    """One kind of work."""

    name: str
    title: str
    layers: str
    um: str
    codec: str
    contenders: tuple[Contender, ...]
    data_set_id: int = _DATA_SET_ID
    link: Link | None = None

    @property
    def work(self) -> str:
        """What is made from what, in a few words."""
        pitch = "at full resolution" if self.um == "full" else f"at {self.um} µm"
        place = f", {pitch}" if "registered" in self.layers else ""
        over = f", over {self.link}" if self.link else ""
        return f"{self.layers}{place}, {self.codec}{over}"


def _full(codec: str, *others: Contender) -> Kind:
    return Kind(
        f"full-{codec}",
        f"Everything at full resolution, {codec}",
        _ALL_LAYERS,
        "full",
        codec,
        (Contender(OURS, "mirror"), Contender("floor", "floor", bar=0.9), *others),
    )


def _codecs(name: str, title: str, *, on_disk: bool, bar: float | None = None) -> Kind:
    where = {"on_disk": on_disk}
    contenders = (
        Contender(OURS, "mirror", changes=where),
        Contender("blosc-lz4 instead", "mirror", bar=bar, changes={**where, "codec": "blosc-lz4"}),
        Contender("zstd instead", "mirror", changes={**where, "codec": "zstd"}),
    )
    return Kind(name, title, _ALL_LAYERS, "full", "jpegxl", contenders)


def _slow(name: str, title: str, layers: str, *others: Contender) -> Kind:
    ours = (
        Contender(OURS, "mirror", changes={"jobs": 32}),
        Contender(f"{OURS}, adaptive", "mirror", changes={"jobs": None}),
    )
    floor = Contender("floor, 32 connections", "floor", changes={"jobs": 32})
    link = Link(latency_s=0.1, bytes_per_s=4e6)
    return Kind(name, title, layers, "25", "zstd", (*ours, floor, *others), LARGE_DATA_SET_ID, link)


_PLAIN = Contender("aiohttp + zarr script", "plain")

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "planes",
            "25 µm planes from full-resolution JPEGs",
            "source,registered",
            "25",
            "zstd",
            (
                Contender(OURS, "mirror"),
                Contender("floor", "floor", bar=0.9),
                _PLAIN,
                Contender("atldld", "atldld_loop", peer="atldld", bar=9.0),
            ),
        ),
        _full("zstd", _PLAIN),
        _full("blosc-lz4", _PLAIN),
        _full("jpegxl"),
        _codecs("codecs", "JPEG XL beside other codecs, written to the system's memory", on_disk=False),
        _codecs(
            "codecs-on-disk", "JPEG XL beside other codecs, until the disk has it", on_disk=True, bar=1.0
        ),
        Kind(
            "warp",
            "Full-resolution JPEGs onto a 2 µm grid",
            "registered",
            "2",
            "zstd",
            (
                Contender(OURS, "mirror"),
                Contender("floor", "floor"),
                Contender(
                    "atldld, nothing saved",
                    "atldld_loop",
                    peer="atldld",
                    bar=7.0,
                    n_images=4,
                    changes={"save": False},
                ),
                Contender("atldld, saved as PNG", "atldld_loop", peer="atldld", bar=40.0, n_images=2),
            ),
        ),
        _slow(
            "slow-source",
            "Downloading over a slow link",
            "source",
            Contender("AllenSDK", "allensdk_loop", peer="allensdk", bar=20.0),
            Contender("atldld", "atldld_loop", peer="atldld", bar=20.0),
        ),
        _slow(
            "slow-planes",
            "25 µm planes over a slow link",
            "source,registered",
            Contender("atldld", "atldld_loop", peer="atldld", bar=10.0),
        ),
    )
}


def images_of(data_set_id: int, most: int | None = None) -> list[int]:
    """Return the ids of a data set's images, or of some that are spread evenly over it."""
    rows = [row for row in sample_atlas().tables["SectionImage"] if row["data_set_id"] == data_set_id]
    ids = [row["id"] for row in sorted(rows, key=lambda row: row["section_number"])]
    n = min(len(ids), most or len(ids))
    return [ids[(2 * k + 1) * len(ids) // (2 * n)] for k in range(n)]


def megapixels_of(image_ids: list[int]) -> float:
    """Return how many megapixels images have in all, at full resolution."""
    atlas = sample_atlas()
    rows = [atlas.image_row(each) for each in image_ids]
    return sum(row["width"] * row["height"] for row in rows if row is not None) / 1e6
