"""The same verbs without ``await``, for scripts and notebooks.

::

    from asyncfetch import blocking

    with blocking.Client() as allen:
        pixels = allen.image(101349756, downsample=4)
    report = blocking.mirror("dataset:70813257", "out.zarr", um=25)

`Client` runs an event loop in a thread of its own, so that it also works where a loop is running already; `mirror` and
`resume` do the same for the time of the call.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from anyio.from_thread import start_blocking_portal

from asyncfetch import mirroring
from asyncfetch.client import BlockingClient as Client
from asyncfetch.store import open  # noqa: A004 - the public name is asyncfetch.open, as zarr.open is

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncfetch.mirroring import Report
    from asyncfetch.settings import Settings
    from asyncfetch.store import Location

__all__ = ["Client", "mirror", "open", "resume"]


def mirror(
    selection: str | Iterable[str], location: Location, *, settings: Settings | None = None, **choices: Any
) -> Report:
    """Mirror data sets or single images into a store, as `asyncfetch.mirror` does.

    Parameters
    ----------
    selection, location, settings, **choices
        As for `asyncfetch.mirror`.

    Returns
    -------
    Report
        What was done, and each item that failed with its cause.
    """
    with start_blocking_portal() as portal:
        return portal.call(partial(mirroring.mirror, selection, location, settings=settings, **choices))


def resume(location: Location, *, settings: Settings | None = None, **choices: Any) -> Report:
    """Go on with the runs of a store that did not come to their end.

    Parameters
    ----------
    location, settings, **choices
        As for `asyncfetch.mirroring.resume`.
    """
    with start_blocking_portal() as portal:
        return portal.call(partial(mirroring.resume, location, settings=settings, **choices))
