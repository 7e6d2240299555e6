"""Stores of any size without mirroring them: the documents that tell of finished data sets, as a mirror writes them.

What `status` and `plan` read of a finished data set is its one document, so that nothing else is written here. The
first data sets are mirrored for real and are what the documents of the others are made like; a test holds these, byte
for byte, against what a mirror writes.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.allen import data_set_query
from asyncfetch.client.queries import section_images_where
from asyncfetch.imaging import jpeg
from asyncfetch.replica import GeneratedAtlas
from asyncfetch.replica.images import DEFAULT_QUALITY
from asyncfetch.replica.rma import Evaluator
from asyncfetch.store.checksums import with_checksum

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["N_MODELS", "documents", "grow"]

#: Generated data sets come in turns of so many kinds.
N_MODELS = 6
_AT_ONCE = 100


def grow(store: Path, n_data_sets: int) -> None:
    """Add the documents of further data sets to a store that holds the first six of a generated product.

    Parameters
    ----------
    store : Path
        A directory, mirrored from a replica that serves a generated product, in the layer ``source`` alone.
    n_data_sets : int
        How many of its data sets there are in the end.
    """
    for data_set_id, data in documents(store, n_data_sets):
        folder = store / "data_sets" / str(data_set_id)
        folder.mkdir(exist_ok=True)
        (folder / "zarr.json").write_bytes(data)


def documents(store: Path, n_data_sets: int) -> Iterator[tuple[int, bytes]]:
    """Yield the ids of further data sets and their documents."""
    atlas = GeneratedAtlas(n_data_sets)
    evaluator = Evaluator(atlas)
    ids = [row["id"] for row in atlas.tables["SectionDataSet"]]
    models = [
        msgspec.json.decode((store / "data_sets" / str(each) / "zarr.json").read_bytes())
        for each in ids[:N_MODELS]
    ]
    for batch in itertools.batched(enumerate(ids[N_MODELS:], N_MODELS), _AT_ONCE):
        asked = [data_set_id for _, data_set_id in batch]
        records = _asked(evaluator, data_set_query(asked))
        images: dict[int, list[dict[str, Any]]] = {}
        for row in _asked(evaluator, section_images_where(asked)):
            images.setdefault(row["data_set_id"], []).append(row)
        for (k, data_set_id), record in zip(batch, records, strict=True):
            yield data_set_id, _document(models[k % N_MODELS], record, images[data_set_id], atlas)


def _asked(evaluator: Evaluator, query: Any) -> list[dict[str, Any]]:
    return evaluator.evaluate(query.page(0, 10 * _AT_ONCE * 20)).rows


def _document(
    model: dict[str, Any], record: dict[str, Any], images: list[dict[str, Any]], atlas: GeneratedAtlas
) -> bytes:
    """Return the document of a data set that is like another one but for its ids and its images."""
    document = copy.deepcopy(model)
    ours = document["attributes"]["asyncfetch"]
    text = msgspec.json.encode(ours).decode()
    ours = msgspec.json.decode(text.replace(str(ours["record"]["id"]), str(record["id"])))
    ours["record"] = record
    del ours["checksum"]
    entries = ours["summary"]["image"]["entries"]
    images.sort(key=lambda row: (row["section_number"], row["id"]))
    for entry, image in zip(entries, images, strict=True):
        body = jpeg.encode(atlas.draw(image["id"]), quality=DEFAULT_QUALITY)
        entry["section"] |= {
            "image_id": image["id"],
            "sha256": hashlib.sha256(body).hexdigest(),
            "size_bytes": len(body),
        }
    document["attributes"]["asyncfetch"] = ours
    document["attributes"] = with_checksum(document["attributes"])
    return msgspec.json.format(msgspec.json.encode(document))
