"""Whether a data set is finished: nothing of it is half done, so that it can be packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.layout.paths import data_set_path, volume_path
from asyncfetch.store.objects import metadata_key
from asyncfetch.store.records import read_record, read_summary, read_views
from asyncfetch.store.runs import read_runs
from asyncfetch.store.table import read_table, table_problem
from asyncfetch.text import counted

if TYPE_CHECKING:
    from asyncfetch.store.objects import Place

__all__ = ["unfinished_reason"]


def unfinished_reason(place: Place, data_set_id: int, *, counts_sections: bool = True) -> str | None:
    """Return why a data set is not finished, and what to type; None where it is.

    Parameters
    ----------
    place : Place
        The store.
    data_set_id : int
        The data set.
    counts_sections : bool
        Whether all sections have to be there while a run is recorded that did not end: nobody can tell then those that
        nobody has asked for from those that it still has to fetch. Otherwise the caller knows that all were fetched.
    """
    mirror = f"asyncfetch mirror dataset:{data_set_id} --out {place.name}"
    if read_record(place, data_set_id) is None:
        key = metadata_key(data_set_path(data_set_id))
        return f"{key} {place.damage.found.get(key, 'is missing')}; restore it with: {mirror}"
    views = read_views(place, data_set_id)
    if not views:
        return f"it has no view; mirror it with: {mirror}"
    problem = table_problem(place, data_set_id)
    n_sections = 0 if problem else len(read_table(place, data_set_id).get("image_id", ()))
    if problem or not n_sections:
        return f"its table {problem or 'is missing'}; complete it with: {mirror}"
    has_runs = counts_sections and bool(read_runs(place))
    for view in views:
        summary = read_summary(place, data_set_id, view)
        option = "" if view == "image" else f" --view {view}"
        if summary is None:
            return f"its view {view} was not completed; complete it with: {mirror}{option}"
        if has_runs and len(summary) < n_sections:
            return (
                f"{len(summary)} of {counted(n_sections, 'section')} of its view {view} are stored, and there is a run "
                f"that did not end; continue with: asyncfetch resume {place.name}"
            )
        if "building" in place.ours(volume_path(data_set_id, view)):
            volume = f"asyncfetch volume {place.name} --dataset {data_set_id}{option}"
            return f"the volume of its view {view} was not completed; complete it with: {volume}"
    return None
