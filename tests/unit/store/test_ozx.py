"""Archives of one Zarr hierarchy: what RFC-9 asks of them, to the bit, and what other programs make of them."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile

import pytest

from asyncfetch.store import ozx
from asyncfetch.store.ozx import ArchiveWriter, Entry

FILES = {
    "zarr.json": b'{"zarr_format": 3, "node_type": "group"}',
    "b/zarr.json": b"{}",
    "a/zarr.json": b"{}",
    "b/c/zarr.json": b"{}",
    "a/deep/er/zarr.json": b"{}",
    "a/c.0.0": bytes(range(256)) * 8,
    "a/empty": b"",
    "b/µm.jpg": b"\xff\xd8\xff",
}


def archive_of(files):
    out = io.BytesIO()
    writer = ArchiveWriter(out, "0.5")
    for name in ozx.in_order(files):
        half = len(files[name]) // 2
        writer.add(name, [files[name][:half], files[name][half:]])
    writer.end()
    return out.getvalue()


def reader_of(data):
    return lambda at, n_bytes: data[at : at + n_bytes]


def files_in(data):
    read = reader_of(data)
    entries = ozx.read_directory(read, len(data))
    return {each.name: read(ozx.data_offset(read, each), each.size) for each in entries}


@pytest.fixture(scope="module")
def archive():
    return archive_of(FILES)


def test_what_was_packed_is_read_back(archive):
    assert files_in(archive) == FILES


def test_the_metadata_come_first_breadth_first_in_the_file_and_in_the_directory(archive):
    names = [each.name for each in ozx.read_directory(reader_of(archive), len(archive))]
    assert names[:5] == ["zarr.json", "a/zarr.json", "b/zarr.json", "b/c/zarr.json", "a/deep/er/zarr.json"]
    assert not any(name.endswith("zarr.json") for name in names[5:])
    starts = [archive.index(name.encode()) for name in names]
    assert starts == sorted(starts)


def test_the_comment_says_the_version_and_that_metadata_come_first(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        said = json.loads(found.comment)
    assert said == {"ome": {"version": "0.5", "zipFile": {"centralDirectory": {"jsonFirst": True}}}}


def test_zip64_is_used_whatever_the_size_and_nothing_is_compressed(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        infos = found.infolist()
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    for info in infos:
        header = archive[info.header_offset :]
        version, sizes = struct.unpack_from("<H", header, 4)[0], struct.unpack_from("<II", header, 18)
        n_name = struct.unpack_from("<H", header, 26)[0]
        extra = struct.unpack_from("<HHQQ", header, 30 + n_name)
        assert (version, sizes, extra) == (
            45,
            (2**32 - 1, 2**32 - 1),
            (1, 16, info.file_size, info.file_size),
        )
    # the records at the end are there, too, and the classic one keeps its numbers for readers that know no other
    assert archive.count(b"PK\x06\x06") == archive.count(b"PK\x06\x07") == 1
    n_entries = struct.unpack_from("<H", archive, archive.rindex(b"PK\x05\x06") + 10)[0]
    assert n_entries == len(FILES)


def test_another_program_reads_every_file_and_finds_nothing_wrong(archive):
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        assert found.testzip() is None
        assert {name: found.read(name) for name in found.namelist()} == FILES
        assert {info.external_attr >> 16 for info in found.infolist()} == {0o100644}


def test_the_same_files_always_become_the_same_bytes(archive):
    assert archive_of(dict(reversed(FILES.items()))) == archive


def test_archives_of_other_programs_are_read_where_they_store_files_as_they_are():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as other:
        other.mkdir("a")
        for name, data in FILES.items():
            other.writestr(name, data)
    assert files_in(out.getvalue()) == FILES


def test_a_compressed_archive_is_refused_with_what_to_do():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as other:
        other.writestr("zarr.json", b"{}" * 100)
    with pytest.raises(ValueError, match=r"zarr.json is compressed.*unpack it with a zip program"):
        ozx.read_directory(reader_of(out.getvalue()), len(out.getvalue()))


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a//b", "a\\b", "./a", "a/../b"])
def test_a_name_that_leads_elsewhere_is_refused(name):
    out = io.BytesIO()
    writer = ArchiveWriter(out, "0.5")
    writer.add(name, [b"x"])
    writer.end()
    with pytest.raises(ValueError, match="damaged at"):
        ozx.read_directory(reader_of(out.getvalue()), len(out.getvalue()))


def test_a_file_that_is_named_twice_is_refused():
    out = io.BytesIO()
    writer = ArchiveWriter(out, "0.5")
    for _ in range(2):
        writer.add("zarr.json", [b"x"])
    writer.end()
    with pytest.raises(ValueError, match=r"damaged at 'zarr\.json'"):
        ozx.read_directory(reader_of(out.getvalue()), len(out.getvalue()))


def flaw_of(data):
    read = reader_of(data)
    try:
        entries = ozx.read_directory(read, len(data))
        problem = ozx.framing_problem(read, len(data), entries, "0.5")
        if problem is not None:
            return problem
        located = [(each, ozx.data_offset(read, each)) for each in entries]
    except ValueError as error:
        return str(error)
    broken = [each.name for each, at in located if ozx.crc32_of(read, at, each.size) != each.crc32]
    return broken[0] if broken else None


def test_every_single_flipped_bit_is_found(archive):
    assert flaw_of(archive) is None
    for bit in range(8 * len(archive)):
        data = bytearray(archive)
        data[bit // 8] ^= 1 << bit % 8
        assert flaw_of(bytes(data)), f"bit {bit}"


def test_every_cut_and_every_byte_too_many_is_found(archive):
    for n_bytes in range(len(archive)):
        assert flaw_of(archive[:n_bytes]), f"{n_bytes} bytes"
    assert flaw_of(archive + b"\0")
    assert flaw_of(b"\0" + archive)


def test_files_and_places_beyond_four_gibibytes_are_told_in_full():
    entries = [Entry("zarr.json", 0, 2, 1), Entry("a/c.0", 99, 5 * 2**30, 3), Entry("b/c.0", 6 * 2**30, 7, 8)]
    end_of_data = 7 * 2**30
    directory = ozx._after_entries(entries, end_of_data, "0.5")

    def read(at, n_bytes):
        # all that is read before the directory is what the search for its end passes over
        n_before = max(0, min(n_bytes, end_of_data - at))
        start = max(0, at - end_of_data)
        return bytes(n_before) + directory[start : start + n_bytes - n_before]

    assert ozx.read_directory(read, end_of_data + len(directory)) == entries


def test_a_random_file_is_not_taken_for_an_archive():
    for seed in range(50):
        data = random.Random(seed).randbytes(5000)
        with pytest.raises(ValueError, match="no central directory"):
            ozx.read_directory(reader_of(data), len(data))
