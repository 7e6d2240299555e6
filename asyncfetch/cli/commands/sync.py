"""``asyncfetch sync``: the six synchronization services, computed from a store or asked of the API."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import tell
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.options import SERVER, Centers, FailedImages, Record, Ties, takes
from asyncfetch.cli.parsing import joined
from asyncfetch.cli.running import run_interruptible
from asyncfetch.cli.services import open_atlas
from asyncfetch.cli.tables import BadRow, Points, Table, read_points, require_writable, write_table
from asyncfetch.errors import AsyncFetchError, SettingsError
from asyncfetch.text import counted, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asyncfetch.allen.sync import ImageSync
    from asyncfetch.atlas import Atlas
    from asyncfetch.settings import Settings

__all__ = ["ServiceName", "sync"]

#: The corners of images lie up to 2 mm outside the box of the reference space; beyond this no section does.
_FAR_UM = 5000.0
_FIELDS = ("section_data_set_id", "section_image_id", "section_number", "x", "y")
#: The columns of positions; all others hold numbers of rows and ids.
_POSITIONS = frozenset("xypir")


class ServiceName(enum.StrEnum):
    """The names of the services on the command line."""

    IMAGE_TO_REFERENCE = "image-to-reference"
    REFERENCE_TO_IMAGE = "reference-to-image"
    IMAGE_TO_IMAGE = "image-to-image"
    IMAGE_TO_IMAGE_2D = "image-to-image-2d"
    IMAGE_TO_ATLAS = "image-to-atlas"
    STRUCTURE_TO_IMAGE = "structure-to-image"


@dataclass(frozen=True)
class _Shape:
    """The options that a service takes: its seed and its targets, and the columns of its points."""

    seed_option: str
    seed_column: str
    axes: str
    target_option: str | None = None
    target_column: str | None = None


_SHAPES = {
    ServiceName.IMAGE_TO_REFERENCE: _Shape("image", "section_image_id", "xy"),
    ServiceName.REFERENCE_TO_IMAGE: _Shape(
        "space", "reference_space_id", "xyz", "data_sets", "target_section_data_set_id"
    ),
    ServiceName.IMAGE_TO_IMAGE: _Shape(
        "image", "section_image_id", "xy", "data_sets", "target_section_data_set_id"
    ),
    ServiceName.IMAGE_TO_IMAGE_2D: _Shape(
        "image", "section_image_id", "xy", "images", "target_section_image_id"
    ),
    ServiceName.IMAGE_TO_ATLAS: _Shape("image", "section_image_id", "xy", "atlas", "atlas_id"),
    ServiceName.STRUCTURE_TO_IMAGE: _Shape(
        "data_set", "section_data_set_id", "", "structures", "structure_id"
    ),
}


@dataclass(frozen=True)
class _Work:
    """What is asked: the input rows, by seed, and the targets that are the same for all."""

    service: ServiceName
    points: Points
    targets: list[int]
    is_table: bool

    @property
    def shape(self) -> _Shape:
        return _SHAPES[self.service]

    def groups(self) -> dict[int, list[int]]:
        """Return the positions of the rows of each seed."""
        found: dict[int, list[int]] = {}
        for position, seed in enumerate(self.points.columns[self.shape.seed_column]):
            found.setdefault(seed, []).append(position)
        return found

    def arguments(self, positions: Sequence[int]) -> tuple[Any, ...]:
        """Return what the service takes after its seed, for some rows of one seed."""
        columns = self.points.columns
        if self.service is ServiceName.STRUCTURE_TO_IMAGE:
            return ([columns["structure_id"][position] for position in positions],)
        xyz = [[columns[axis][position] for axis in self.shape.axes] for position in positions]
        if self.shape.target_option is None:
            return (xyz,)
        return xyz, self.targets[0] if self.service is ServiceName.IMAGE_TO_ATLAS else self.targets


class _Answers:
    """Columns of answers, and the rows that have none."""

    def __init__(self, work: _Work) -> None:
        self._work = work
        self._parts: list[tuple[Sequence[int], list[Any]]] = []
        self.bad: list[BadRow] = list(work.points.bad)

    def add(self, positions: Sequence[int], records: list[Any]) -> None:
        """Add the records of some rows, one per row, or one per row and target."""
        self._parts.append((positions, records))

    def fail(self, positions: Iterable[int], error: AsyncFetchError) -> None:
        self.bad += [BadRow(self._work.points.lines[position], error.message) for position in positions]

    def table(self) -> Table:
        """Return the answers in the order of the rows in: one row out for each row in and target."""
        by_position = {
            position: record
            for positions, records in self._parts
            for position, record in zip(positions, records, strict=True)
        }
        rows = self._work.points.rows
        if self._work.service is ServiceName.IMAGE_TO_REFERENCE:
            points = [(rows[position], by_position[position]) for position in sorted(by_position)]
            columns = {"row": [row for row, _ in points]}
            columns |= {
                pir: [getattr(record, xyz) for _, record in points]
                for pir, xyz in zip("pir", "xyz", strict=True)
            }
        else:
            found = [
                (rows[position], target, record)
                for position in sorted(by_position)
                for target, record in self._by_target(position, by_position[position])
            ]
            columns = {
                "row": [row for row, _, _ in found],
                str(self._work.shape.target_column): [target for _, target, _ in found],
            }
            is_2d = self._work.service is ServiceName.IMAGE_TO_IMAGE_2D
            fields = ("section_image_id", "x", "y") if is_2d else _FIELDS
            columns |= {name: [getattr(record, name) for _, _, record in found] for name in fields}
        return Table(columns, {name: float if name in _POSITIONS else int for name in columns})

    def _by_target(self, position: int, record: Any) -> list[tuple[int, ImageSync]]:
        if self._work.service is ServiceName.STRUCTURE_TO_IMAGE:
            return [(self._work.points.columns["structure_id"][position], record)]
        records = [record] if self._work.service is ServiceName.IMAGE_TO_ATLAS else record
        return list(zip(self._work.targets, records, strict=True))


def sync(
    service: Annotated[ServiceName, typer.Argument(metavar="SERVICE", help=", ".join(ServiceName))],
    given: Annotated[Given, takes(SERVER)],
    image: Annotated[int | None, typer.Option(metavar="ID", help="The section image of the points.")] = None,
    space: Annotated[
        int | None, typer.Option(metavar="ID", help="The reference space of the points.")
    ] = None,
    data_set: Annotated[
        int | None, typer.Option(metavar="ID", help="The data set in which to look for structures.")
    ] = None,
    x: Annotated[
        float | None, typer.Option(metavar="X", help="Full-resolution pixels, or µm (posterior).")
    ] = None,
    y: Annotated[
        float | None, typer.Option(metavar="Y", help="Full-resolution pixels, or µm (inferior).")
    ] = None,
    z: Annotated[float | None, typer.Option(metavar="Z", help="µm (right or left).")] = None,
    data_sets: Annotated[
        list[str] | None, typer.Option(metavar="IDS", help="Target data sets: 1,2,3. May be repeated.")
    ] = None,
    images: Annotated[
        list[str] | None, typer.Option(metavar="IDS", help="Target images: 1,2,3. May be repeated.")
    ] = None,
    structures: Annotated[
        list[str] | None, typer.Option(metavar="IDS", help="Structures: 1,2,3. May be repeated.")
    ] = None,
    atlas: Annotated[str | None, typer.Option(metavar="ID", help="The target atlas.")] = None,
    table: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Points from a CSV or Parquet file, or from CSV on stdin (-): columns x, y and z where it is "
            "needed, and section_image_id, reference_space_id or section_data_set_id where no option gives it; "
            "structure_id for structure-to-image.",
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="OUT", help="Compute from this store instead of asking the API.")
    ] = None,
    centers: Centers = None,
    ties: Ties = "lower",
    failed_images: FailedImages = "include",
    convert_spaces: Annotated[
        bool, typer.Option("--convert-spaces", help="With --store, convert points between spaces 9 and 10.")
    ] = False,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write here instead of to stdout.")
    ] = None,
    fmt: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help="csv, json or parquet.", show_default="csv"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    record: Record = None,
) -> None:
    """Find positions on images and in the reference space.

    The six synchronization services, computed from a store with --store, or else asked of the API. The output has one
    row per input row and target; its column row counts the input rows from 1. Rows that cannot be used are named by
    their line, with exit code 3.
    """
    asked = {
        "image": image,
        "space": space,
        "data_set": data_set,
        "x": x,
        "y": y,
        "z": z,
        "data_sets": joined(data_sets),
        "images": joined(images),
        "structures": joined(structures),
        "atlas": atlas,
    }
    wanted_format = _format(fmt, as_json=as_json)
    require_writable(output, wanted_format)
    work = _gather(service, asked, table)
    if store is not None and given["base_url"] is not None:
        raise SettingsError(
            "--store computes locally and --base-url asks the API; give one of them", setting="store"
        )
    answers = _Answers(work)
    if store is not None:
        opened = open_atlas(
            store, ties=ties, failed_images=failed_images, convert_spaces=convert_spaces, centers=centers
        )
        if service is ServiceName.STRUCTURE_TO_IMAGE and not len(opened.catalogue.structure_centers):
            raise SettingsError(
                f"{store} holds no structure centres: mirror a data set into it again, give them with "
                "--centers FILE, or ask the API with --base-url",
                setting="centers",
            )
        _compute(opened, work, answers)
    else:
        _ask(given.settings(), work, answers)
    answered = answers.table()
    write_table(answered, output, wanted_format)
    _tell_far_points(work, answered)
    _conclude(answers.bad)


def _format(fmt: str | None, *, as_json: bool) -> Literal["csv", "json", "parquet"] | None:
    if as_json:
        return "json"
    if fmt is None or fmt in {"csv", "json", "parquet"}:
        return fmt  # type: ignore[return-value]  # one of these
    raise SettingsError(f"--format is csv, json or parquet, not {fmt}", setting="format")


def _gather(service: ServiceName, given: dict[str, Any], table: str | None) -> _Work:
    shape = _SHAPES[service]
    takes = {shape.seed_option, shape.target_option, *(() if table else shape.axes)}
    strange = [
        f"--{name.replace('_', '-')}"
        for name, value in given.items()
        if value is not None and name not in takes
    ]
    if strange:
        raise SettingsError(
            f"{'with --table, ' if table else ''}{service} does not take {', '.join(strange)}",
            setting=strange[0],
        )
    by_structure = service is ServiceName.STRUCTURE_TO_IMAGE
    needed = [] if table else [shape.seed_option, *shape.axes]
    needed += [shape.target_option] if shape.target_option and not (table and by_structure) else []
    missing = [f"--{name.replace('_', '-')}" for name in needed if given[name] is None]
    if missing:
        raise SettingsError(
            f"{service} needs {', '.join(missing)}{'' if table else ', or a --table'}", setting=missing[0]
        )
    targets = _parse_ids(shape.target_option, given[shape.target_option]) if shape.target_option else []
    if service is ServiceName.IMAGE_TO_ATLAS and len(targets) != 1:
        raise SettingsError("--atlas takes one id", setting="--atlas")
    seed = given[shape.seed_option]
    if table is None:
        n = len(targets) if by_structure else 1
        columns: dict[str, list[Any]] = {shape.seed_column: [seed] * n}
        columns |= {axis: [given[axis]] for axis in shape.axes}
        columns |= {"structure_id": targets} if by_structure else {}
        return _Work(service, Points(list(range(1, n + 1)), [1] * n, columns, []), targets, is_table=False)
    integers = [
        *([] if seed is not None else [shape.seed_column]),
        *(["structure_id"] if by_structure else []),
    ]
    points = read_points(table, integers, list(shape.axes))
    if seed is not None:
        points.columns[shape.seed_column] = [seed] * len(points.rows)
    return _Work(service, points, targets, is_table=True)


def _parse_ids(name: str, text: str | None) -> list[int]:
    if text is None:
        return []
    try:
        return list(dict.fromkeys(int(word) for word in text.split(",") if word.strip()))
    except ValueError:
        raise SettingsError(
            f"--{name.replace('_', '-')} takes ids such as 1,2,3, not {text!r}", setting=name
        ) from None


def _compute(atlas: Atlas, work: _Work, answers: _Answers) -> None:
    answer = getattr(atlas, work.service.replace("-", "_"))
    for seed, positions in work.groups().items():
        try:
            answers.add(positions, answer(seed, *work.arguments(positions)).records())
        except AsyncFetchError as error:
            _raise_if_alone(work, error)
            answers.fail(positions, error)


def _ask(settings: Settings, work: _Work, answers: _Answers) -> None:
    from asyncfetch.client import Client
    from asyncfetch.engine.groups import share_out

    parts = [
        (seed, part)
        for seed, positions in work.groups().items()
        # one request per point; structures share one
        for part in (
            [positions]
            if work.service is ServiceName.STRUCTURE_TO_IMAGE
            else [[position] for position in positions]
        )
    ]

    async def body() -> None:
        async with Client(settings=settings) as client:
            answer = getattr(client.sync, work.service.replace("-", "_"))

            async def ask(part: Any) -> None:
                seed, positions = part
                try:
                    answers.add(positions, await answer(seed, *work.arguments(positions)))
                except AsyncFetchError as error:
                    answers.fail(positions, error)
                    failures.append(error)

            await share_out(parts, ask, min(settings.max_images_at_once + 1, len(parts)))

    failures: list[AsyncFetchError] = []
    run_interruptible(body)
    for error in failures[:1]:
        _raise_if_alone(work, error)


def _raise_if_alone(work: _Work, error: AsyncFetchError) -> None:
    """Let the error of what was asked for by options, not by a table, end the command."""
    if not work.is_table:
        raise error


def _tell_far_points(work: _Work, answered: Table) -> None:
    """Say on stderr how many points lie where no section can be: the formulas hold there, and mean nothing."""
    import numpy as np

    from asyncfetch.geometry import REFERENCE_BOXES_UM

    if work.service is ServiceName.IMAGE_TO_REFERENCE:
        found = [np.asarray(answered.columns[name], dtype=np.float64) for name in "pir"]
    elif work.service is ServiceName.REFERENCE_TO_IMAGE:
        found = [np.asarray(work.points.columns[name], dtype=np.float64) for name in "xyz"]
    else:
        return
    is_far = np.zeros(len(found[0]), dtype=bool)
    for position, side_um in zip(found, REFERENCE_BOXES_UM[9], strict=True):
        is_far |= (position < -_FAR_UM) | (position > side_um + _FAR_UM)
    if n := int(is_far.sum()):
        points = counted(n, "point lies", "points lie")
        tell(f"note: {points} more than {_FAR_UM / 1000:g} mm outside the reference space")


def _conclude(bad: list[BadRow]) -> None:
    if not bad:
        return
    bad.sort(key=lambda each: each.line)
    for line in listed(
        bad,
        lambda each: f"line {each.line}: {each.message}",
        lambda n: f"{counted(n, 'more row')} could not be used",
    ):
        tell(line)
    raise typer.Exit(ExitCode.SOME_FAILED)
