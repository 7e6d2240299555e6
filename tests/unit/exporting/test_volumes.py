"""NIfTI and NRRD by readers that are not their writers: voxels, sizes and places, in both reference spaces."""

from __future__ import annotations

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK

from tests.unit.exporting.conftest import CORONAL, SAGITTAL, UM

DATA_SETS = pytest.mark.parametrize("data_set_id", [CORONAL, SAGITTAL], ids=["space 9", "space 10"])
LAYERS = pytest.mark.parametrize("layer", ["registered", "volume"])
FORMATS = pytest.mark.parametrize("name", ["nifti", "nrrd"])
ENDINGS = {"nifti": "nii.gz", "nrrd": "nrrd"}
#: The axis across the planes, of p, i and r.
ACROSS = {CORONAL: 0, SAGITTAL: 2}
#: From (L, P, S) in mm, which is how ITK tells positions, to (p, i, r) of space 9 in µm.
TO_REFERENCE = np.array([[0.0, 1000.0, 0.0], [0.0, 0.0, -1000.0], [-1000.0, 0.0, 0.0]])


def stored(truth, data_set_id, layer):
    """Return what our own reader gives, as (p, i, r, c)."""
    data_set = truth.store.data_set(data_set_id)
    array = data_set.open_registered() if layer == "registered" else data_set.open_volume()
    voxels = np.moveaxis(np.asarray(array[...]), 0, -1)
    return voxels.transpose(2, 1, 0, 3) if (data_set_id, layer) == (SAGITTAL, "registered") else voxels


def file_of(folder, data_set_id, layer, name):
    return folder / f"{data_set_id}/{data_set_id}_{layer}_{UM:g}um.{ENDINGS[name]}"


def off_the_phantom(truth, image, axis):
    """Return how far an image is from the phantom where ITK says its voxels lie, and from the phantom in a mirror.

    Both are means over the tissue of absolute differences in grey levels.
    """
    voxels = SimpleITK.GetArrayViewFromImage(image).transpose(2, 1, 0, 3)
    direction = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    to_reference = TO_REFERENCE @ direction
    first, *others = axis, *(each for each in range(3) if each != axis)
    found = []
    for k in range(voxels.shape[axis]):
        plane = voxels.take(k, axis)
        if not plane.any():
            continue
        index = [0.0, 0.0, 0.0]
        index[first] = float(k)
        corner = TO_REFERENCE @ image.TransformContinuousIndexToPhysicalPoint(index)
        row, column = others
        seen = np.column_stack([to_reference[:, column], to_reference[:, row], corner])
        mirrored = seen.copy()
        mirrored[2] = -mirrored[2] + [0, 0, 11350.0]
        inside = truth.phantom.tissue(seen, plane.shape[:2], reference_space_id=9) >= 1.0
        inside &= plane.any(axis=-1)
        if not inside.any():
            continue
        for each in (seen, mirrored):
            drawn = truth.phantom.render(each, plane.shape[:2], reference_space_id=9)
            found.append(np.abs(drawn[inside].astype(float) - plane[inside]).mean())
    return np.mean(found[::2]), np.mean(found[1::2])


@DATA_SETS
@LAYERS
@FORMATS
def test_another_reader_finds_the_voxels_of_the_store(truth, exported, data_set_id, layer, name):
    image = SimpleITK.ReadImage(file_of(exported(name, layer=layer), data_set_id, layer, name))
    voxels = SimpleITK.GetArrayViewFromImage(image).transpose(2, 1, 0, 3)
    assert np.array_equal(voxels, stored(truth, data_set_id, layer))
    assert voxels.any()


@DATA_SETS
@LAYERS
@FORMATS
def test_the_brain_lies_where_the_file_says_and_not_in_a_mirror(truth, exported, data_set_id, layer, name):
    image = SimpleITK.ReadImage(file_of(exported(name, layer=layer), data_set_id, layer, name))
    off, mirrored = off_the_phantom(truth, image, ACROSS[data_set_id])
    assert off < 3
    assert mirrored > 5 * off


@DATA_SETS
@LAYERS
def test_nibabel_reads_codes_and_places_of_the_axes(truth, exported, data_set_id, layer):
    image = nibabel.load(file_of(exported("nifti", layer=layer), data_set_id, layer, "nifti"))
    codes = nibabel.aff2axcodes(image.affine)
    assert codes == (("P", "I", "R") if data_set_id == CORONAL else ("P", "I", "L"))
    assert (image.header["sform_code"], image.header["qform_code"]) == (2, 2)
    assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "mm"
    data_set = truth.store.data_set(data_set_id)
    layout = data_set.read_registered_layout()
    z = 3
    if layer == "registered":
        p, i, r = (
            (layout.z_um[z], UM / 2, UM / 2) if data_set_id == CORONAL else (UM / 2, UM / 2, layout.z_um[z])
        )
        index = [0, 0, 0]
        index[ACROSS[data_set_id]] = z
    else:
        p, i, r = UM / 2, UM / 2, 3.5 * UM
        index = [0, 0, 3]
    right = r if data_set_id == CORONAL else 11350.0 - r
    assert np.allclose(image.affine @ [*index, 1], [right / 1000, -p / 1000, -i / 1000, 1], atol=1e-5)


@DATA_SETS
def test_both_formats_state_the_same_places(exported, data_set_id):
    images = [
        SimpleITK.ReadImage(file_of(exported(name), data_set_id, "registered", name))
        for name in ("nifti", "nrrd")
    ]
    for index in ((0, 0, 0), (5, 7, 3)):
        first, second = (each.TransformIndexToPhysicalPoint(index) for each in images)
        # NIfTI keeps four bytes of each number
        assert np.allclose(first, second, atol=1e-4)


def test_pynrrd_reads_the_axes_that_allens_own_volumes_have(truth, exported):
    voxels, header = nrrd.read(str(file_of(exported("nrrd", layer="volume"), CORONAL, "volume", "nrrd")))
    assert np.array_equal(np.moveaxis(voxels, 0, -1), stored(truth, CORONAL, "volume"))
    assert header["kinds"] == ["RGB-color", "domain", "domain", "domain"]
    assert header["space"] == "left-posterior-superior"
    assert header["space units"] == ["mm", "mm", "mm"]
    assert header["content"].startswith("Pvalb coronal")


@FORMATS
def test_grey_is_the_luma_in_one_channel(truth, exported, name):
    image = SimpleITK.ReadImage(file_of(exported(name, color="grey"), CORONAL, "registered", name))
    assert image.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    grey = SimpleITK.GetArrayViewFromImage(image).transpose(2, 1, 0)
    expected = stored(truth, CORONAL, "registered") @ [0.299, 0.587, 0.114]
    assert np.abs(grey - expected).max() <= 0.501


@FORMATS
def test_a_region_is_the_same_voxels_at_the_same_places(exported, name):
    whole = SimpleITK.ReadImage(file_of(exported(name, layer="volume"), SAGITTAL, "volume", name))
    # in space 10 the region lies at 11350 less r
    part = SimpleITK.ReadImage(
        file_of(
            exported(name, layer="volume", roi_um=((4000, 8000), (2000, 6000), (5000, 11000)), roi_space=9),
            SAGITTAL,
            "volume",
            name,
        )
    )
    assert part.GetSize() == (20, 20, 30)
    corner = whole.TransformPhysicalPointToIndex(part.TransformIndexToPhysicalPoint((0, 0, 0)))
    assert SimpleITK.GetArrayFromImage(part).any()
    cut = SimpleITK.RegionOfInterest(whole, part.GetSize(), corner)
    assert np.array_equal(SimpleITK.GetArrayFromImage(part), SimpleITK.GetArrayFromImage(cut))
    right = [-part.TransformIndexToPhysicalPoint((0, 0, k))[0] * 1000 for k in (0, 29)]
    assert 5000 <= min(right) < max(right) <= 11000


@FORMATS
def test_the_same_export_gives_the_same_bytes(truth, tmp_path, exported, name):
    first = file_of(exported(name), CORONAL, "registered", name)
    before = first.read_bytes()
    first.unlink()
    assert file_of(exported(name), CORONAL, "registered", name).read_bytes() == before
