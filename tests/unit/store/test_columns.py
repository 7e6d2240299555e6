"""Columns that are read here are those that Zarr reads, and whatever is not as it is written here is left to Zarr."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec

from asyncfetch.errors import StoreItemError
from asyncfetch.store.arrays import write_column
from asyncfetch.store.columns import read_columns
from asyncfetch.store.objects import Place

COLUMNS = {
    "image_id": np.arange(5, dtype=np.int64) * 10**9,
    "numbers": np.array([[1.5, np.nan, -0.0], [np.inf, 2.0, 3.0]]),
    "image_type": np.array(["Primary", "", "Größe µm"], dtype=np.dtypes.StringDType()),
    "nothing": np.empty((0, 36)),
}


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path / "store.zarr")
    for name, values in COLUMNS.items():
        write_column(place, f"table/{name}", values)
    return place


def read(place, name):
    return read_columns(place, "table", [name])[0][name]


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_what_zarr_reads(place, name):
    values = read(place, name)
    assert values.dtype == COLUMNS[name].dtype
    np.testing.assert_array_equal(values, COLUMNS[name])
    np.testing.assert_array_equal(values, zarr.open_array(place.store, path=f"table/{name}", mode="r")[...])


def test_a_column_that_another_writer_compressed_is_read(place):
    values = np.arange(6, dtype=np.float64)
    keys = {"name": "default", "separator": "."}
    zarr.create_array(
        place.store,
        name="table/theirs",
        data=values,
        chunks=(6,),
        compressors=[ZstdCodec()],
        chunk_key_encoding=keys,
    )
    np.testing.assert_array_equal(read(place, "theirs"), values)


@pytest.mark.parametrize("name", ["image_id", "numbers"])
@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-1], lambda data: b"", lambda data: data + b"\1"],
    ids=["cut", "emptied", "longer"],
)
def test_a_chunk_of_another_length_is_no_column(place, name, change):
    key = next(f"table/{name}/{each}" for each in place.names_below(f"table/{name}") if each.startswith("c."))
    place.set(key, change(place.get(key)))
    with pytest.raises(StoreItemError):
        read(place, name)


@pytest.mark.parametrize(
    "document", [b"", b"{", b"[]", b'{"node_type": "array", "zarr_format": 3, "shape": [5]}']
)
def test_a_column_whose_metadata_are_damaged_is_no_column(place, document):
    place.set("table/image_id/zarr.json", document)
    with pytest.raises(StoreItemError):
        read(place, "image_id")


def test_texts_whose_lengths_do_not_add_up_are_no_column(place):
    data = bytearray(place.get("table/image_type/c.0"))
    data[4] = 200
    place.set("table/image_type/c.0", bytes(data))
    with pytest.raises(StoreItemError):
        read(place, "image_type")
