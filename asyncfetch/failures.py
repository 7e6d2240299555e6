"""What a run could not do, as data: one item, and why. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from asyncfetch.errors import AsyncFetchError

__all__ = ["Failure"]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One item that is unavailable, and why.

    Attributes
    ----------
    item : str
        A selection that fetches this item alone, such as ``image:69177634``.
    view : str or None
        The view, where the item is a section.
    error : str
        The class of the error.
    message : str
        Its sentence.
    is_transient : bool
        Whether the same request can succeed later.
    url : str or None
        The request, where there was one.
    """

    item: str
    view: str | None = None
    error: str
    message: str
    is_transient: bool = False
    url: str | None = None

    @classmethod
    def of(cls, item: str, error: AsyncFetchError, view: str | None = None) -> Failure:
        """Describe an error as the failure of an item."""
        return cls(
            item=item,
            view=view,
            error=type(error).__name__,
            message=error.message,
            is_transient=error.is_transient,
            url=error.url,
        )
