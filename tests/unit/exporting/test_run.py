"""The run of an export: what is kept, what is made again, what is never half there, and what is told of failures."""

from __future__ import annotations

import json
import signal
import typing

import anyio
import msgspec
import pytest

import asyncfetch
from asyncfetch import blocking
from asyncfetch.errors import AsyncFetchError, SelectionError, SettingsError, StoreBusyError
from asyncfetch.events import FileExported, ItemNotExported
from asyncfetch.exporting import FORMATS, format_class
from asyncfetch.exporting.manifest import MANIFEST, Manifest
from asyncfetch.exporting.options import ExportOptions, FormatOptions
from tests.unit.exporting.conftest import CORONAL, SAGITTAL, SECTIONS

N_SECTIONS = sum(map(len, SECTIONS.values()))


def files_in(folder):
    """Return the files of an export by name, without the manifest."""
    found = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    found.pop(MANIFEST, None)
    return found


def lines_of(folder):
    return [json.loads(line) for line in (folder / MANIFEST).read_text().splitlines()]


def test_a_second_run_keeps_what_is_complete(truth, tmp_path):
    first = blocking.export(truth.path, format="ome-tiff", folder=tmp_path)
    before = {name: path.stat().st_mtime_ns for name, path in files_in(tmp_path).items()}
    second = blocking.export(truth.path, format="ome-tiff", folder=tmp_path)
    assert (first.n_written, first.n_kept) == (N_SECTIONS, 0)
    assert (second.n_written, second.n_kept) == (0, N_SECTIONS)
    assert {name: path.stat().st_mtime_ns for name, path in files_in(tmp_path).items()} == before


def test_a_file_that_is_lost_or_cut_is_made_again(truth, tmp_path):
    blocking.export(truth.path, format="nrrd", folder=tmp_path)
    coronal, sagittal = (tmp_path / f"{each}/{each}_registered_200um.nrrd" for each in (CORONAL, SAGITTAL))
    before = coronal.read_bytes(), sagittal.read_bytes()
    coronal.unlink()
    sagittal.write_bytes(sagittal.read_bytes()[:-1])
    assert blocking.export(truth.path, format="nrrd", folder=tmp_path).n_written == 2
    assert (coronal.read_bytes(), sagittal.read_bytes()) == before


def test_other_options_make_files_again_and_the_former_ones_too(truth, tmp_path):
    def written(**options):
        return blocking.export(
            truth.path, f"dataset:{CORONAL}", format="nifti", folder=tmp_path, **options
        ).n_written

    assert [written(), written(color="grey"), written(color="grey"), written(), written()] == [1, 1, 0, 1, 0]


def test_a_section_that_changed_in_the_store_is_made_again(store_copy, tmp_path):
    folder = tmp_path / "out"
    blocking.export(store_copy, format="nifti", folder=folder)
    blocking.rebuild(store_copy, layers=["registered"], data_set_ids=[CORONAL], um=400)
    report = blocking.export(store_copy, format="nifti", folder=folder)
    assert (report.n_written, report.n_kept) == (1, 1)


def test_the_manifest_says_what_was_made_of_what(truth, tmp_path):
    blocking.export(truth.path, f"dataset:{CORONAL}", format="nifti", folder=tmp_path, color="grey")
    (line,) = lines_of(tmp_path)
    assert line["name"] in files_in(tmp_path)
    assert (line["item"], line["view"], line["format"]) == (f"dataset:{CORONAL}", "image", "nifti")
    assert line["made_from"]["options"] == {"layer": "registered", "color": "grey"}
    assert line["made_from"]["store"] == str(truth.path)
    assert line["n_bytes"] == files_in(tmp_path)[line["name"]].stat().st_size


def test_a_line_that_a_killed_run_has_cut_costs_that_file_alone(truth, tmp_path):
    blocking.export(truth.path, format="ome-tiff", folder=tmp_path)
    manifest = tmp_path / MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:-20])
    report = blocking.export(truth.path, format="ome-tiff", folder=tmp_path)
    assert (report.n_written, report.n_kept) == (1, N_SECTIONS - 1)
    assert blocking.export(truth.path, format="ome-tiff", folder=tmp_path).n_kept == N_SECTIONS


def test_a_manifest_does_not_grow_for_ever(truth, tmp_path):
    for _ in range(4):
        for color in ("rgb", "grey"):
            blocking.export(truth.path, f"dataset:{CORONAL}", format="nifti", folder=tmp_path, color=color)
    assert len(lines_of(tmp_path)) <= 3


def test_a_damaged_section_is_a_failure_and_leaves_no_file(store_copy, tmp_path):
    image_id = SECTIONS[CORONAL][0]
    view = store_copy / f"data_sets/{CORONAL}/image"
    (view / f"source/{image_id}.jpg").unlink()
    (view / f"sections/{image_id}/scale0/image/c.0.0.0.0").unlink()
    events = []
    folder = tmp_path / "out"
    report = blocking.export(store_copy, format="ome-tiff", folder=folder, on_event=events.append)
    (failure,) = report.failures
    assert (failure.item, failure.error) == (f"image:{image_id}", "StoreItemError")
    assert "verify" in failure.message
    assert len(files_in(folder)) == N_SECTIONS - 1
    assert not [name for name in files_in(folder) if str(image_id) in name]
    assert [each.item for each in events if isinstance(each, ItemNotExported)] == [f"image:{image_id}"]


def test_a_stack_of_which_a_plane_is_lost_is_a_failure_not_an_empty_plane(store_copy, tmp_path):
    data_set = asyncfetch.open(store_copy).data_set(CORONAL)
    z = data_set.read_registered_layout().z_by_image[SECTIONS[CORONAL][1]]
    (store_copy / f"data_sets/{CORONAL}/image/registered/scale0/image/c.0.{z}.0.0").unlink()
    report = blocking.export(store_copy, format="nrrd", folder=tmp_path / "out")
    assert [each.item for each in report.failures] == [f"dataset:{CORONAL}"]
    assert list(files_in(tmp_path / "out")) == [f"{SAGITTAL}/{SAGITTAL}_registered_200um.nrrd"]


@pytest.mark.parametrize(
    ("name", "options", "layer"),
    [
        ("ome-tiff", {}, f"sections/{SECTIONS[CORONAL][0]}/scale1"),
        ("quicknii", {"downsample": 4}, f"sections/{SECTIONS[CORONAL][0]}/scale1"),
        ("tiles", {"size": 64}, f"sections/{SECTIONS[CORONAL][0]}/scale0"),
        ("ome-zarr-0.4", {}, "registered/scale0"),
        ("nifti", {"layer": "volume"}, "volume/scale0"),
    ],
)
def test_a_flipped_bit_is_a_failure_and_no_other_pixel(store_copy, tmp_path, name, options, layer):
    folder = store_copy / f"data_sets/{CORONAL}/image/{layer}/image"
    path = max(folder.glob("c.*"), key=lambda each: each.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.write_bytes(data)
    report = blocking.export(
        store_copy, f"dataset:{CORONAL}", format=name, folder=tmp_path / "out", **options
    )
    assert [each.error for each in report.failures] == ["StoreItemError"]


def test_a_folder_within_the_store_is_refused(store_copy):
    with pytest.raises(SettingsError, match="is within the store"):
        blocking.export(store_copy, format="nifti", folder=store_copy / "files")
    assert not (store_copy / "files").exists()


def test_a_run_that_is_asked_to_end_is_continued_by_the_same_call(truth, tmp_path):
    async def run(**options):
        return await asyncfetch.export(truth.path, format="ome-tiff", folder=tmp_path, workers=1, **options)

    async def interrupted():
        drain = anyio.Event()

        def end_soon(event):
            if isinstance(event, FileExported):
                drain.set()

        return await run(drain=drain, on_event=end_soon)

    first = anyio.run(interrupted)
    assert first.interrupted
    assert 0 < first.n_written < N_SECTIONS
    assert not list(tmp_path.rglob(".*"))
    second = anyio.run(run)
    assert not second.interrupted
    assert first.n_written + second.n_written == N_SECTIONS


KILLS_ITSELF = """
import os, signal
from asyncfetch.exporting import pictures, ome_tiff
read, n = pictures._Stored.read, 0
def interrupted(self, level, box):
    global n
    n += 1
    if n == 3:
        os.kill(os.getpid(), signal.{signal})
    return read(self, level, box)
pictures._Stored.read = interrupted
from asyncfetch.cli import main
main()
"""


def test_ctrl_c_ends_in_130_and_the_same_command_continues(truth, command):
    arguments = ("export", "ome-tiff", truth.path, "-o", "out", "--workers", "1")
    process = command.start_script(KILLS_ITSELF.format(signal="SIGINT"), *arguments)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    assert "the same command continues" in err
    left = files_in(command.folder / "out")
    assert 0 < len(left) < N_SECTIONS
    assert not [name for name in left if ".part" in name]
    done = command(*arguments, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["n_kept"] == len(left)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nobody is killed here")
def test_a_killed_run_leaves_no_file_that_looks_complete(truth, command):
    arguments = ("export", "ome-tiff", truth.path, "-o", "out", "--workers", "1")
    command.start_script(KILLS_ITSELF.format(signal="SIGKILL"), *arguments).communicate(timeout=100)
    left = files_in(command.folder / "out")
    assert [name for name in left if name.endswith(".part")]
    assert command(*arguments).returncode == 0
    whole = files_in(command.folder / "out")
    assert len(whole) == N_SECTIONS
    assert not [name for name in whole if name.endswith(".part")]


def test_two_runs_do_not_write_to_one_folder(truth, tmp_path):
    with Manifest.open(tmp_path), pytest.raises(StoreBusyError, match="another export"):
        blocking.export(truth.path, format="nrrd", folder=tmp_path)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (None, {CORONAL, SAGITTAL}),
        (f"dataset:{CORONAL}", {CORONAL}),
        ("gene:pvalb", {CORONAL}),
        ([f"image:{SECTIONS[SAGITTAL][0]}"], {SAGITTAL}),
        ("product:1", {CORONAL, SAGITTAL}),
    ],
)
def test_a_selection_is_looked_up_in_the_store(truth, tmp_path, selection, expected):
    report = blocking.export(truth.path, selection, format="ome-tiff", folder=tmp_path)
    assert report.failures == []
    assert {int(name.partition("/")[0]) for name in files_in(tmp_path)} == expected
    if isinstance(selection, list):
        assert len(files_in(tmp_path)) == 1


def test_what_the_store_does_not_hold_is_a_failure_beside_what_it_holds(truth, tmp_path):
    report = blocking.export(truth.path, f"dataset:5,{CORONAL}", format="nrrd", folder=tmp_path)
    assert [each.item for each in report.failures] == ["dataset:5"]
    assert report.n_written == 1


def test_an_image_does_not_name_a_stack(truth, tmp_path):
    report = blocking.export(truth.path, f"image:{SECTIONS[CORONAL][0]}", format="nrrd", folder=tmp_path)
    assert "name the data set instead" in report.failures[0].message


def test_a_region_beside_all_sections_is_told(truth, tmp_path):
    for name in ("nrrd", "ome-tiff"):
        report = blocking.export(
            truth.path, f"dataset:{CORONAL}", format=name, folder=tmp_path, roi_um=((0, 1), (0, 1), (0, 1))
        )
        assert "the region touches no" in report.failures[0].message


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nifit", "{}"], 2, "did you mean nifti?"),
        (
            ["nifti", "{}", "--compression", "jpeg"],
            2,
            "--compression is not an option of nifti; it is one of ome-tiff",
        ),
        (
            ["ome-tiff", "{}", "--compression", "jpg"],
            2,
            "--compression jpg is not allowed: one of deflate, jpeg, none",
        ),
        (["nifti", "{}", "479"], 2, "is not a valid selection"),
        (["nifti", "{}", "dataset:5"], 4, "holds nothing of dataset:5"),
        (["nifti", "{}", "dataset:479,5"], 3, "1 file written"),
        (["nifti", "{}", "-o", "s3://bucket/files"], 2, "an export goes to a directory of this machine"),
        (["nifti", "nowhere.zarr"], 1, "there is no store at nowhere.zarr"),
    ],
)
def test_the_command_says_what_is_wrong_and_ends_with_its_code(truth, forked_command, arguments, code, words):
    folder = () if "-o" in arguments else ("-o", "out")
    told = forked_command("export", *(each.format(truth.path) for each in arguments), *folder)
    assert (told.returncode, words in told.stderr) == (code, True), told.stderr


WITHOUT = "import sys; sys.modules['nibabel'] = None\nfrom asyncfetch.cli import main\nmain()"


def test_a_missing_library_is_named_with_what_to_install(truth, command):
    process = command.start_script(WITHOUT, "export", "nifti", truth.path, "-o", "out")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "the format nifti requires nibabel; install with: pip install 'asyncfetch[export]'" in err


def test_the_typed_options_are_those_of_the_formats():
    theirs = {option for name in FORMATS for option in format_class(name).__struct_fields__}
    assert set(FormatOptions.__annotations__) == theirs
    assert ExportOptions.__required_keys__ == frozenset()


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_option_of_a_format_has_a_description(name):
    kind = format_class(name)
    for field in msgspec.inspect.type_info(kind).fields:
        assert field.type.extra_json_schema["description"].endswith("."), field.name
    hints = typing.get_type_hints(kind, include_extras=True)
    assert set(kind.__struct_fields__) <= set(hints)


def test_an_option_that_no_format_has_is_refused(truth, tmp_path):
    with pytest.raises(SettingsError, match="colour is not an option of nifti"):
        blocking.export(truth.path, format="nifti", folder=tmp_path, colour="grey")


def test_a_malformed_selection_is_refused_before_anything_is_made(truth, tmp_path):
    with pytest.raises(SelectionError):
        blocking.export(truth.path, "479x", format="nifti", folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_refused(truth, tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(AsyncFetchError, match="choose another folder"):
        blocking.export(truth.path, format="nifti", folder=tmp_path / "out")
