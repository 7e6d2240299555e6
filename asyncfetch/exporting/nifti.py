"""NIfTI-1: registered planes and volumes as one compressed file each, for ANTs, brainreg, ITK-SNAP and nibabel.

The axes of the array are p, i and r, as in Allen's own volumes and in the store; the affine says where they run. A file
is written part by part, so that its memory does not grow with the volume.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from asyncfetch.exporting.choices import Color, StackLayer  # noqa: TC001 - msgspec reads annotations
from asyncfetch.exporting.files import gzipped
from asyncfetch.exporting.formats import needed
from asyncfetch.exporting.protocol import Format, Output
from asyncfetch.exporting.space import voxel_to_ras_mm
from asyncfetch.exporting.stacks import Stack, check_whole, open_stack

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from asyncfetch.exporting.chosen import Chosen
    from asyncfetch.exporting.files import Facts

__all__ = ["Nifti", "stack_output"]

#: "Aligned to some other data", of the form codes of NIfTI: the reference space of an atlas.
_ALIGNED = 2
_MAX_DESCRIPTION = 79


class Nifti(Format, frozen=True, kw_only=True):
    """Registered planes or volumes as ``.nii.gz``; colours are of NIfTI's type RGB24."""

    needs: ClassVar[tuple[str, ...]] = ("nibabel",)

    layer: StackLayer = "registered"
    color: Color = "rgb"

    def outputs(self, chosen: Chosen) -> Iterable[Output]:
        """Return one file per view of a data set."""
        stack = open_stack(chosen, self.layer)
        affine = voxel_to_ras_mm(stack.first_um, stack.step_um, stack.space, chosen.item)
        header = _header(stack, affine, self.color, chosen.title)
        return [stack_output(chosen, stack, self.layer, "nii.gz", partial(_write, stack, header, self.color))]


def stack_output(chosen: Chosen, stack: Stack, layer: Any, ending: str, write: Any) -> Output:
    """Return the file of a stack, which is written once its pixels are known to be whole."""

    def write_checked(path: Path) -> Facts:
        check_whole(chosen, layer)
        write(path)
        return {"shape": list(stack.shape)}

    return Output(
        name=f"{chosen.stem}_{stack.name}.{ending}",
        item=chosen.item,
        view=chosen.view,
        content={**chosen.content_of(chosen.sections, "registered"), **stack.content},
        write=write_checked,
        working_bytes=stack.part_bytes,
    )


def _header(stack: Stack, affine: Any, color: Color, title: str) -> Any:
    nibabel = needed("nibabel")
    header = nibabel.Nifti1Header()
    is_rgb = color == "rgb" and stack.n_channels == 3
    header.set_data_dtype("RGB" if is_rgb else "uint8")
    header.set_data_shape(stack.shape)
    header.set_qform(affine, code=_ALIGNED)
    header.set_sform(affine, code=_ALIGNED)
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    # the field is for bytes; names of genes are ASCII, and what is not is left out
    header["descrip"] = title.encode("ascii", "ignore")[:_MAX_DESCRIPTION]
    header["cal_max"] = 255
    header["magic"] = b"n+1"
    header.set_data_offset(nibabel.Nifti1Header.single_vox_offset)
    return header


def _write(stack: Stack, header: Any, color: Color, path: Path) -> None:
    with (
        path.open("wb") as file,
        gzipped(file) as out,
    ):
        header.write_to(out)
        out.write(bytes(header.get_data_offset() - out.tell()))
        for piece in stack.pieces(color):
            out.write(piece)
