"""Neuroglancer: states that show registered planes, volumes or sections in colour, each where it lies.

All layers share one frame, whichever way their sections were cut: x, y and z are r, i and p of space 9 in µm, so that
the view of x and y is coronal. Images of space 10 come there by the API's own transform, r9 = 11350 - r10 (REC-5).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np

from asyncfetch.errors import SelectionError
from asyncfetch.exporting.choices import Layer  # noqa: TC001 - msgspec reads annotations
from asyncfetch.exporting.pictures import parts_of
from asyncfetch.exporting.places import section_to_world, stack_to_world
from asyncfetch.exporting.protocol import Format, Made, Output
from asyncfetch.exporting.stacks import open_stack
from asyncfetch.failures import Failure
from asyncfetch.layout.paths import registered_path, section_path, volume_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from asyncfetch.exporting.chosen import Chosen
    from asyncfetch.exporting.files import Facts
    from asyncfetch.exporting.pictures import SectionPart
    from asyncfetch.exporting.stacks import StackName

__all__ = ["Neuroglancer"]

#: How Neuroglancer writes an axis in µm, and one of channels that a shader sees all at once.
_UM = [1e-6, "m"]
_CHANNELS = {"c^": [1, ""]}
#: Where the view begins: the middle of the reference space, and how many µm a pixel of the screen is.
_MIDDLE_UM = (5700.0, 4000.0, 6600.0)
_UM_PER_PIXEL = 20.0
_RGB = (
    "void main() { emitRGB(vec3("
    "toNormalized(getDataValue(0)), toNormalized(getDataValue(1)), toNormalized(getDataValue(2)))); }"
)
_GREY = "void main() { emitGrayscale(toNormalized(getDataValue(0))); }"


class Neuroglancer(Format, frozen=True, kw_only=True):
    """States as JSON: one per view of a data set, and one of all of them."""

    url: Annotated[
        str,
        msgspec.Meta(
            description="The address at which the store is served, such as https://example.org/brains.ome.zarr.",
            extra={"metavar": "URL"},
        ),
    ]
    layer: Layer = "registered"

    def outputs(self, chosen: Chosen) -> Iterator[Output | Failure]:
        """Return the state of one view of a data set."""
        if self.layer != "sections":
            layers, position_um = [self._stack(chosen, self.layer)], _MIDDLE_UM
        else:
            layers, position_um = [], _MIDDLE_UM
            for part in parts_of(chosen, None):
                if isinstance(part, Failure):
                    yield part
                    continue
                try:
                    layer, position_um = self._section(chosen, part)
                    layers.append(layer)
                except SelectionError as error:
                    yield Failure.of(f"image:{part.image_id}", error, chosen.view)
            if not layers:
                return
        yield Output(
            name=f"{chosen.stem}_{self.layer}.json",
            item=chosen.item,
            view=chosen.view,
            content={"store": chosen.location, "layers": layers},
            write=partial(_write_state, layers, position_um),
        )

    def _stack(self, chosen: Chosen, layer: StackName) -> dict[str, Any]:
        stack = open_stack(chosen, layer)
        affine = stack_to_world(stack, chosen.item)
        path_of = registered_path if layer == "registered" else volume_path
        path = path_of(chosen.data_set_id, chosen.view)
        return self._layer(
            f"{chosen.title}, {stack.name}", path, affine, _RGB if stack.n_channels == 3 else _GREY
        )

    def _section(
        self, chosen: Chosen, part: SectionPart
    ) -> tuple[dict[str, Any], tuple[float, float, float]]:
        """Return the layer of a section, and where its middle lies."""
        section = chosen.sections[part.image_id]
        if "sections" not in section.layers:
            raise SelectionError(
                f"section {part.image_id} has no levels that Neuroglancer could read; make them with: "
                f"asyncfetch rebuild {chosen.location} --layers sections"
            )
        affine = section_to_world(chosen, part.image_id)
        path = section_path(chosen.data_set_id, chosen.view, part.image_id)
        name = f"{chosen.title}, section {section.section_number}, image {part.image_id}"
        pitch_um = (section.resolution_um or 1.0) * 2**section.downsample
        p, i, r = affine @ [0.0, *(side / 2 * pitch_um for side in section.shape), 1.0]
        return self._layer(name, path, affine, _RGB), (float(r), float(i), float(p))

    def _layer(self, name: str, path: str, affine: NDArray[np.float64], shader: str) -> dict[str, Any]:
        """Return a layer; `affine` (3, 4) takes (z, y, x, 1) of the image to (p, i, r) of space 9, all in µm."""
        # rows and columns of Neuroglancer: channels, z, y and x; z is p, and x is r
        matrix = np.zeros((4, 5))
        matrix[0, 0] = 1.0
        matrix[1:, 1:] = affine
        transform = {
            "outputDimensions": {**_CHANNELS, "z": _UM, "y": _UM, "x": _UM},
            "matrix": (matrix + 0.0).tolist(),
        }
        return {
            "type": "image",
            "name": name,
            "source": {"url": f"{self.url.rstrip('/')}/{path}/|zarr3:", "transform": transform},
            "shader": shader,
            "opacity": 1,
        }

    def closing(self, folder: Path, made: Sequence[Made]) -> Iterable[Output]:
        """Return the state of everything, which shows the layers of the first view; the others can be switched on."""
        if made:
            yield Output(
                name=f"neuroglancer_{self.layer}.json",
                item=f"neuroglancer_{self.layer}.json",
                view=None,
                content={},
                write=partial(_write_all, folder, made),
            )


def _write_all(folder: Path, made: Sequence[Made], path: Path) -> Facts:
    states = [msgspec.json.decode((folder / each.name).read_bytes()) for each in made]
    shown, *others = (state["layers"] for state in states)
    hidden = [{**layer, "visible": False} for layers in others for layer in layers]
    return _write_state([*shown, *hidden], tuple(states[0]["position"]), path)


def _write_state(layers: list[dict[str, Any]], position_um: Sequence[float], path: Path) -> Facts:
    state = {
        "dimensions": dict.fromkeys("xyz", _UM),
        "position": list(position_um),
        "crossSectionScale": _UM_PER_PIXEL,
        "projectionScale": 2 * max(_MIDDLE_UM),
        "layers": layers,
        "layout": "4panel",
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1))
    return {"n_layers": len(layers)}
