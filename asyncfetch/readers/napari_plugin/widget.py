"""The widget of the plugin, which napari makes from a function: choices in, layers out."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - napari reads the annotations
from typing import TYPE_CHECKING, Literal

from asyncfetch.errors import SelectionError
from asyncfetch.readers.napari_plugin.reader import read_layers

if TYPE_CHECKING:
    from asyncfetch.readers.napari_plugin.layers import LayerData

__all__ = ["open_images"]


def open_images(
    store: Path,
    data_set_id: str = "",
    view: Literal[
        "image", "expression", "projection", "tumor_feature_annotation", "tumor_feature_boundary"
    ] = "image",
    images: Literal["planes and volume", "registered", "volume", "sections"] = "planes and volume",
    sections: Literal["side by side", "in place"] = "side by side",
) -> list[LayerData]:
    """Open images of a store.

    Parameters
    ----------
    store : Path
        The directory of the store.
    data_set_id : str
        One data set, or several with commas between them; all where it is empty.
    view : str
        Which view of the sections.
    images : str
        Which images.
    sections : str
        Where sections lie: side by side, or in place in the reference space.
    """
    ids = [each.strip() for each in data_set_id.split(",") if each.strip()]
    if odd := [each for each in ids if not each.isdecimal()]:
        raise SelectionError(f"'{odd[0]}' is not the id of a data set; give numbers with commas between them")
    if not ids:
        if images == "sections":
            raise SelectionError("sections are opened of single data sets; give data_set_id")
        return read_layers(str(store))
    below = "" if images == "planes and volume" else f"/{images}"
    return read_layers(*(f"{store}/data_sets/{each}/{view}{below}" for each in ids), sections=sections)


# by this name napari knows that it is to make layers of them; nothing of napari is imported for that
open_images.__annotations__["return"] = "list[napari.types.LayerDataTuple]"
