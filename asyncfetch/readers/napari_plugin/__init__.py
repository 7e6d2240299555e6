"""The plugin of napari: stores, data sets, views and images as layers in µm, in colour, with their names.

It comes with the extra ``napari``, and napari finds it by ``napari.yaml``: two readers, a widget and a sample. The
readers differ in where they put sections: ``asyncfetch.read`` side by side, each in its own frame, and
``asyncfetch.read_in_place`` where they lie in the reference space::

    viewer.open("brains.ome.zarr/data_sets/479", plugin="asyncfetch")
    viewer.open("brains.ome.zarr/data_sets/479/image/sections", plugin="asyncfetch.read_in_place")
"""

from __future__ import annotations

from asyncfetch.readers.napari_plugin.reader import get_reader, get_reader_in_place, read_layers

__all__ = ["get_reader", "get_reader_in_place", "read_layers"]
