"""Many machines: one run of whole data sets on the workers of a Dask cluster, under one rate and one window."""

from __future__ import annotations

from asyncfetch.cluster.opening import DaskCluster

__all__ = ["DaskCluster"]
