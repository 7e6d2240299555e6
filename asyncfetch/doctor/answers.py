"""The answers of a service, read as its checks need them; what cannot be read says why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncfetch.allen import parse_data_set
from asyncfetch.doctor.questions import DATA_SET_ID, IMAGE_ID
from asyncfetch.errors import AsyncFetchError, SelectionError, short_url
from asyncfetch.imaging import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.doctor.asking import Seen
    from asyncfetch.engine import Exchange
    from asyncfetch.geometry import SectionGeometry

__all__ = ["Answers", "DiffersError", "UnaskedError"]


class UnaskedError(Exception):
    """A question that has no answer to judge."""


class DiffersError(Exception):
    """An answer that is not as it is assumed to be."""


class Answers(NamedTuple):
    """The answers to all questions, by their names.

    Attributes
    ----------
    base_url : str
        Where they were asked.
    seen : mapping of str to Seen
        What came of each question; those that were not asked are missing.
    """

    base_url: str
    seen: Mapping[str, Seen]

    def exchange(self, name: str) -> Exchange:
        """Return the answer to a question, which has the status 200.

        Raises
        ------
        UnaskedError
            There is none.
        """
        seen = self.seen.get(name)
        if seen is None:
            raise UnaskedError("the server does not answer, or no requests were left for it")
        if seen.error is not None or seen.last is None:
            raise UnaskedError(seen.error.message if seen.error else f"{short_url(seen.url)} has no answer")
        return seen.last

    def all_exchanges(self) -> Iterator[Exchange]:
        """Yield everything that was answered."""
        for seen in self.seen.values():
            yield from seen.exchanges

    def envelope(self, name: str) -> dict[str, Any]:
        """Return an envelope in JSON.

        Raises
        ------
        UnaskedError
            The answer is another one, or a refusal.
        """
        exchange = self.exchange(name)
        try:
            found = json.loads(exchange.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise UnaskedError(f"{short_url(exchange.url)} answered {exchange.body[:40]!r} instead of JSON")
        if found.get("success") is False:
            raise UnaskedError(f"the service refuses the request: {str(found.get('msg'))[:200]}")
        return found

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of an answer without nulls.

        Raises
        ------
        DiffersError
            There is no list of records.
        """
        found = self.envelope(name).get("msg")
        if not isinstance(found, list):
            raise DiffersError("msg is not a list")
        rows = [row for row in found if row is not None]
        if not all(isinstance(row, dict) for row in rows):
            raise DiffersError("msg holds something else than records")
        return rows

    def pixels(self, name: str) -> NDArray[np.uint8]:
        """Return the pixels of an image.

        Raises
        ------
        UnaskedError
            It is not a JPEG, or broken.
        """
        exchange = self.exchange(name)
        try:
            return decode(exchange.body)
        except AsyncFetchError as error:
            raise UnaskedError(error.message) from None

    def data_set(self) -> SectionDataSet:
        """Return the known data set with its sections.

        Raises
        ------
        DiffersError
            It is missing, or cannot be read.
        """
        rows = self.rows("data_set")
        if not rows:
            raise DiffersError(f"there is no data set {DATA_SET_ID}")
        try:
            return parse_data_set(rows[0])
        except AsyncFetchError as error:
            raise DiffersError(error.message) from None

    def section(self) -> SectionImage:
        """Return the known section image."""
        for section in self.data_set().section_images:
            if section.id == IMAGE_ID:
                return section
        raise DiffersError(f"data set {DATA_SET_ID} has no section image {IMAGE_ID}")

    def geometry(self, image_id: int = IMAGE_ID) -> SectionGeometry:
        """Return where a section lies."""
        data_set = self.data_set()
        for section in data_set.section_images:
            if section.id == image_id:
                try:
                    return data_set.geometry(section)
                except SelectionError as error:
                    raise DiffersError(error.message) from None
        raise DiffersError(f"data set {DATA_SET_ID} has no section image {image_id}")
