"""Readers for other programs: what a store holds, as xarray and napari show it."""
