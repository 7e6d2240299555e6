"""``asyncfetch status`` and ``asyncfetch info``: what a store holds, read from its commits alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.console import echo, print_json
from asyncfetch.cli.opening import open_store
from asyncfetch.cli.options import AsJson, Store
from asyncfetch.cli.reports import as_plain, describe_figures
from asyncfetch.errors import NotFoundError
from asyncfetch.text import counted, shown, sized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncfetch.layout.live import LiveFigures
    from asyncfetch.runs import UnfinishedRun
    from asyncfetch.store import Store as OpenStore
    from asyncfetch.store.holder import Holder

__all__ = ["info", "status"]

_MAX_CELL = 500


def status(out: Store, as_json: AsJson = False) -> None:
    """Show how far the runs of a store are.

    Counts the committed sections and all known sections, for each data set and view.
    """
    import msgspec

    from asyncfetch.runs import unfinished_runs

    opened = open_store(out)
    rows = [msgspec.structs.asdict(progress) for progress in opened.read_progress()]
    holder, is_alive = opened.read_writer()
    figures = opened.read_figures()
    unfinished = unfinished_runs(opened)
    if as_json:
        said = {"is_alive": is_alive, "figures": msgspec.to_builtins(figures)}
        writer = None if holder is None else {**msgspec.structs.asdict(holder), **said}
        runs = [as_plain(run) for run in unfinished]
        print_json({"store": opened.location, "writer": writer, "unfinished_runs": runs, "views": rows})
        return
    if rows:
        echo("\n".join(map(_told, rows)))
    if not rows:
        echo(f"{opened.location} holds no data sets yet")
    for line in _run_lines(out, unfinished, holder, figures, is_alive=is_alive):
        echo(line)


def _told(row: dict[str, Any]) -> str:
    view = shown(row["view"], _MAX_CELL)
    return (
        f"data set {row['data_set_id']} {view}: {row['n_committed']} of {counted(row['n_sections'], 'section')}, "
        f"{sized(row['size_bytes'])} of JPEGs, layers {', '.join(row['layers']) or 'none'}"
    )


def _run_lines(
    out: str,
    unfinished: list[UnfinishedRun],
    holder: Holder | None,
    figures: LiveFigures | None,
    *,
    is_alive: bool | None,
) -> Iterator[str]:
    """Yield what is in progress, what is unfinished, and how to continue."""
    if is_alive:
        yield f"a run is in progress: {shown(holder, _MAX_CELL)}"
    elif is_alive is None:
        yield f"a run may be in progress: {holder or 'it does not say which'}"
    if figures is not None:
        who = "a killed run said last, " if is_alive is False else ""
        yield f"  {who}as of {shown(figures.time, _MAX_CELL)}: {describe_figures(figures)}"
    left = [run for run in unfinished if run.is_alive is False]
    for run in left:
        asked = f", which asked {run.address}" if run.address else ""
        yield f"an unfinished run of {' '.join(run.selection) or 'an unknown selection'}{asked}"
    if left and not is_alive:
        addresses = {run.address for run in left}
        named = next(iter(addresses)) if len(addresses) == 1 else None
        base_url = f" --base-url {named}" if named else ""
        yield f"{counted(len(left), 'unfinished run')}; continue with: asyncfetch resume {out}{base_url}"


def info(
    out: Store,
    data_set_id: Annotated[
        int | None, typer.Option("--dataset", metavar="ID", help="List the sections of this data set.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Describe a store and its data sets.

    Lists the data sets with their registered grids and volumes, or, with --dataset, the sections of one.
    """
    from asyncfetch.layout.citation import SOURCE

    opened = open_store(out)
    if data_set_id is not None and data_set_id not in opened.read_data_set_ids():
        raise NotFoundError(f"{opened.location} holds no data set {data_set_id}; mirror it first")
    if data_set_id is not None:
        _print_sections(opened, data_set_id, as_json=as_json)
        return
    described = [_describe(opened, each) for each in opened.read_data_set_ids()]
    if as_json:
        print_json({"store": opened.location, "data": SOURCE, "data_sets": described})
        return
    for each in described:
        echo(f"data set {each['id']}: {', '.join(each['views']) or 'no views'}")
        if origin := _origin_told(each["origin"]):
            echo(f"  {shown(origin, _MAX_CELL)}")
        for view, grid in each["registered"].items():
            n_z, n_y, n_x = grid["shape"]
            echo(
                f"  {view}: {grid['plane']} planes of {n_y} x {n_x} voxels (y, x) at {grid['um']:g} µm in "
                f"reference space {grid['reference_space_id']}, {grid['n_filled']} of {counted(n_z, 'slot')} filled"
            )
        for view, made in each["volumes"].items():
            n_p, n_i, n_r = made["shape"]
            echo(
                f"  {view}: volume of {n_p} x {n_i} x {n_r} voxels (p, i, r) at {made['um']:g} µm, "
                f"from {counted(made['n_planes'], 'plane')}"
            )
        echo(f"  cite as: {shown(each['citation'], _MAX_CELL)}")
    if not described:
        echo(f"{opened.location} holds no data sets yet")
    else:
        echo(f"terms of use: {SOURCE['terms_of_use']}; citation policy: {SOURCE['citation_policy']}")


def _describe(opened: OpenStore, data_set_id: int) -> dict[str, Any]:
    from asyncfetch.allen import parse_data_set
    from asyncfetch.layout.citation import citation_of

    data_set = opened.data_set(data_set_id)
    registered, volumes = {}, {}
    for view in data_set.read_views():
        seen = opened.data_set(data_set_id, view)
        layout = seen.read_registered_layout()
        if layout is not None:
            placed = [commit for commit in seen.read_commits() if "registered" in commit.layers]
            registered[view] = {
                "plane": str(layout.grid.plane),
                "um": layout.grid.um,
                "shape": list(layout.shape),
                "reference_space_id": layout.reference_space_id,
                "n_filled": len(placed),
            }
        made = seen.read_volume_layout()
        if made is not None:
            volumes[view] = {"um": made.um, "shape": list(made.shape), "n_planes": len(made.planes)}
    return {
        "id": data_set_id,
        "views": list(data_set.read_views()),
        "registered": registered,
        "volumes": volumes,
        "origin": _origin(data_set.record),
        "citation": citation_of(parse_data_set(data_set.record)),
    }


def _origin(record: dict[str, Any]) -> dict[str, Any]:
    """Return where a data set comes from, as far as its record tells: what it is chosen by."""
    from asyncfetch.client.searching import found_row
    from asyncfetch.selecting.traits import TRAITS

    row = found_row("datasets", record)
    names = ("genes", *(trait.name for trait in TRAITS), "specimen_id", "products")
    return {name: row[name] for name in names}


def _origin_told(origin: dict[str, Any]) -> str:
    """Return the same for people: what is not known is left out."""
    specimen = origin["specimen_id"]
    told = [value for name, value in origin.items() if value and name not in {"specimen_id", "products"}]
    return ", ".join([*map(str, told), *([f"specimen {specimen}"] if specimen else [])])


def _print_sections(opened: OpenStore, data_set_id: int, *, as_json: bool) -> None:
    data_set = opened.data_set(data_set_id)
    commits = [
        (view, commit)
        for view in data_set.read_views()
        for commit in opened.data_set(data_set_id, view).read_commits()
    ]
    if not commits:
        raise NotFoundError(f"{opened.location} holds no committed section of data set {data_set.id} yet")
    if as_json:
        print_json([commit.to_attributes() for _, commit in commits])
        return
    echo("view\timage_id\tsection_number\theight\twidth\tdownsample\tsize_bytes\tlayers\ttime")
    for view, commit in commits:
        fields = (
            view,
            commit.image_id,
            commit.section_number,
            *commit.shape,
            commit.downsample,
            commit.size_bytes,
            ",".join(commit.layers),
            commit.time,
        )
        echo("\t".join(shown(field, _MAX_CELL) for field in fields))
