"""A refresh: what is stored follows what the API says now, and the report tells what is new, changed and gone.

Sections are compared by the table of their data set, which has all of them in one object. A section that is another
image now loses its commit, and one that lies elsewhere its plane, in every view, before anything is fetched: what a run
that ends early leaves undone is missing then, and no run takes it for done.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.allen import parse_data_set
from asyncfetch.errors import AlignmentError
from asyncfetch.layout.commit import SectionAffine
from asyncfetch.store.registered import UPSTREAM_FIELDS
from asyncfetch.text import counted, listed

if TYPE_CHECKING:
    from collections.abc import Collection

    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.client import Client
    from asyncfetch.errors import SettingsError
    from asyncfetch.layout.upstream import UpstreamChanges
    from asyncfetch.selecting import Selection
    from asyncfetch.store import Commit, StoreWriter, ViewWriter

__all__ = ["Refresh", "drop_planes", "find_gone", "follow_upstream", "lies_otherwise"]


class Refresh(msgspec.Struct, kw_only=True):
    """What a refresh found, against what the store had.

    Attributes
    ----------
    new_data_sets : list of int
        Data sets that the store did not have.
    new_sections : list of int
        Images that are new in data sets that it had.
    other_images : list of int
        Images that are of another size, box or resolution now; fetched again.
    moved : list of int
        Images that lie elsewhere now; their planes are made again.
    other_facts : list of int
        Images of which something else is said now, such as that they failed.
    removed : list of int
        Images that the API no longer has in their data set; what is stored of them stays.
    failed_data_sets : list of int
        Stored data sets that the API has marked as failed since, so that genes and products leave them out; they stay.
    removed_data_sets : list of int
        Stored data sets that the API no longer has; they stay.
    """

    new_data_sets: list[int] = msgspec.field(default_factory=list)
    new_sections: list[int] = msgspec.field(default_factory=list)
    other_images: list[int] = msgspec.field(default_factory=list)
    moved: list[int] = msgspec.field(default_factory=list)
    other_facts: list[int] = msgspec.field(default_factory=list)
    removed: list[int] = msgspec.field(default_factory=list)
    failed_data_sets: list[int] = msgspec.field(default_factory=list)
    removed_data_sets: list[int] = msgspec.field(default_factory=list)

    def add(self, data_set_id: int, changes: UpstreamChanges, *, is_new: bool) -> None:
        """Count the sections of a data set."""
        if is_new:
            self.new_data_sets.append(data_set_id)
        else:
            self.new_sections += changes.new
        self.other_images += changes.pixels
        self.moved += changes.place
        self.other_facts += changes.facts
        self.removed += changes.removed

    def join(self, other: Refresh) -> None:
        """Add what was found of other data sets."""
        for name in self.__struct_fields__:
            getattr(self, name).extend(getattr(other, name))

    def sentences(self) -> list[str]:
        """Return what was found, a line for each kind; one line where nothing was."""
        kinds = (
            (self.new_data_sets, "new data set", "dataset", "new data sets"),
            (self.new_sections, "new section", "image", "new sections"),
            (self.other_images, "section is another image now", "image", "sections are other images now"),
            (self.moved, "section lies elsewhere now", "image", "sections lie elsewhere now"),
            (self.other_facts, "section is described otherwise", "image", "sections are described otherwise"),
            (
                self.removed,
                "section is gone from the API and stays here",
                "image",
                "sections are gone from the API and stay here",
            ),
            (
                self.failed_data_sets,
                "data set is marked as failed now and stays here",
                "dataset",
                "data sets are marked as failed now and stay here",
            ),
            (
                self.removed_data_sets,
                "data set is gone from the API and stays here",
                "dataset",
                "data sets are gone from the API and stay here",
            ),
        )
        told = [
            f"{counted(len(ids), one, many)}: {_some(prefix, ids)}" for ids, one, prefix, many in kinds if ids
        ]
        return told or ["nothing is new"]


def follow_upstream(
    writer: StoreWriter,
    data_set: SectionDataSet,
    changes: UpstreamChanges,
    image_ids: Collection[int] | None,
) -> list[str]:
    """Let what is stored of changed sections vouch for no more than what the API still says.

    Parameters
    ----------
    writer : StoreWriter
        The store.
    data_set : SectionDataSet
        With its sections, as the API has them now.
    changes : UpstreamChanges
        Of this data set.
    image_ids : collection of int, optional
        The images that are asked for; None means all.

    Returns
    -------
    list of str
        A sentence for each volume that is gone, because it was made of planes that are.
    """
    wanted = {each for each in changes.changed if image_ids is None or each in image_ids}
    if not wanted:
        return []
    writer.packing.unpack_to_write(data_set.id)
    sections = {section.id: section for section in data_set.section_images}
    views = writer.views(data_set.id)
    if _is_aligned_otherwise(writer.record(data_set.id), data_set):
        for view in views:
            drop_planes(writer, data_set.id, view)
    dropped = []
    for view in views:
        there = writer.view(data_set.id, view)
        commits = there.commits()
        if there.has_volume and wanted & {*changes.pixels, *changes.place} & commits.keys():
            # its record tells of the images that it was made of, not of where they lay
            there.drop_volume()
            dropped.append(
                f"the volume of data set {data_set.id}, view {view}, was made of planes that changed; make it again: "
                f"asyncfetch volume {writer.location} --dataset {data_set.id}"
            )
        for image_id in sorted(wanted & commits.keys()):
            if image_id in changes.pixels:
                there.withdraw(image_id)
            else:
                _describe(there, commits[image_id], data_set, sections[image_id], image_id in changes.place)
    return dropped


def _is_aligned_otherwise(record: dict[str, Any] | None, data_set: SectionDataSet) -> bool:
    """Tell whether the alignment of the whole set is another one now, by which all its slots are placed."""
    if record is None:
        return False
    before, now = parse_data_set(record).alignment3d, data_set.alignment3d
    if before is None or now is None:
        return before is not now
    return (before.tvr_numbers, before.trv_numbers) != (now.tvr_numbers, now.trv_numbers)


def _describe(
    there: ViewWriter, commit: Commit, data_set: SectionDataSet, section: SectionImage, has_moved: bool
) -> None:
    rest: Commit | None = commit
    if has_moved and "registered" in commit.layers:
        rest = there.disown(commit, {"registered"})
    if rest is None:
        return
    affine = None
    with contextlib.suppress(AlignmentError):
        affine = SectionAffine.of(data_set.geometry(section))
    facts: dict[str, Any] = {
        "record": section.record,
        "section_number": section.section_number,
        "image_to_reference": affine,
    }
    there.commit(msgspec.structs.replace(rest, **facts))


async def find_gone(
    client: Client,
    writer: StoreWriter,
    selections: Collection[Selection],
    found: Collection[int],
    refresh: Refresh,
) -> None:
    """Tell of stored data sets that their gene or product no longer gives: the API has them no more, or they failed.

    Parameters
    ----------
    client : Client
        Asked for those alone, a hundred at once.
    writer : StoreWriter
        The store.
    selections : collection of Selection
        What was asked for.
    found : collection of int
        The data sets that this gave.
    refresh : Refresh
        What is told.
    """
    named = {(each.kind, str(each.id).lower()) for each in selections if each.kind in {"gene", "product"}}
    missing = await client.pool.run(_stored_of, writer, named, frozenset(found)) if named else []
    if not missing:
        return
    known = {each.id: each for each in await client.data_sets(ids=missing, failed=None)}
    refresh.removed_data_sets += [each for each in missing if each not in known]
    refresh.failed_data_sets += [each for each in missing if each in known and known[each].failed]


def _stored_of(writer: StoreWriter, named: Collection[tuple[str, str]], found: Collection[int]) -> list[int]:
    """Return the stored data sets of some genes and products, but for those that were found."""
    stored = []
    for data_set_id in sorted(set(writer.data_set_ids()) - set(found)):
        record = writer.record(data_set_id)
        if record is None:
            continue
        data_set = parse_data_set(record)
        words = {("gene", each.acronym or "") for each in data_set.genes}
        words |= {("product", each.abbreviation or "") for each in data_set.products}
        words |= {("gene", str(each.id)) for each in data_set.genes}
        words |= {("product", str(each.id)) for each in data_set.products}
        if not {(kind, word.lower()) for kind, word in words}.isdisjoint(named):
            stored.append(data_set_id)
    return stored


def lies_otherwise(error: SettingsError) -> bool:
    """Tell whether stored planes contradict not the settings but what the API says of their data set now."""
    return error.setting in UPSTREAM_FIELDS


def drop_planes(writer: StoreWriter, data_set_id: int, view: str) -> None:
    """Remove the registered image of a view, which is laid out again for the sections that there are now."""
    there = writer.view(data_set_id, view)
    for commit in there.commits().values():
        if "registered" in commit.layers:
            there.disown(commit, {"registered"})
    there.drop_registered()


def _some(prefix: str, ids: list[int]) -> str:
    shown = listed(ids, lambda each: f"{prefix}:{each}", lambda n: f"{n} more")
    return ", ".join(shown)
