"""The engine ``asyncfetch`` of xarray: images with positions in µm and labels, singly or a whole store as a tree.

It comes with the extra ``xarray``; xarray finds it by its name::

    xarray.open_dataset("brains.ome.zarr", engine="asyncfetch", data_set=479)
    xarray.open_datatree("brains.ome.zarr", engine="asyncfetch")

What can be given beside the name stands at `AsyncfetchBackend.open_dataset` and `AsyncfetchBackend.open_datatree`.
"""

from __future__ import annotations

from asyncfetch.readers.xarray_backend.entrypoint import AsyncfetchBackend
from asyncfetch.readers.xarray_backend.reference import with_reference_coordinates

__all__ = ["AsyncfetchBackend", "with_reference_coordinates"]
