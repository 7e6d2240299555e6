"""The libraries that results and speed depend on, and their installed versions."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["library_versions"]

_LIBRARIES = (
    "aiohttp",
    "aiolimiter",
    "anyio",
    "imagecodecs",
    "msgspec",
    "numcodecs",
    "numpy",
    "opencv-python-headless",
    "simplejpeg",
    "zarr",
    "zlib-ng",
)


def library_versions() -> dict[str, str | None]:
    """Return the version of each library by the name of its distribution, None for one that is not installed."""
    return {name: _version(name) for name in _LIBRARIES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
