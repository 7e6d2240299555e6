"""Where the data of a store come from and what their owner asks of whoever uses them. Pure.

Wherever its data are used publicly, the Allen Institute asks to cite the atlas and each data set with its address;
it allows noncommercial use. The addresses are those of its own pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncfetch.allen import SectionDataSet

__all__ = ["SOURCE", "citation_of"]

#: What the root of a store says of its data.
SOURCE = {
    "owner": "Allen Institute for Brain Science",
    "terms_of_use": "https://alleninstitute.org/terms-of-use",
    "citation_policy": "https://alleninstitute.org/citation-policy",
}


def citation_of(data_set: SectionDataSet) -> str:
    """Return how to cite a data set: its owner, its products as far as they are known, and its address."""
    names = ", ".join(product.name for product in data_set.products if product.name)
    what = f"{names}, section data set {data_set.id}" if names else f"section data set {data_set.id}"
    return (
        f"{SOURCE['owner']}, Allen Brain Atlas, {what}, "
        f"https://api.brain-map.org/api/v2/data/SectionDataSet/{data_set.id}.json"
    )
