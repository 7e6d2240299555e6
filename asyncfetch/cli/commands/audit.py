"""``asyncfetch audit``: the services computed from a store against those of the API, at random points."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.configuration import Given
from asyncfetch.cli.console import echo, print_json, tell
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.options import SERVER, AsJson, Centers, FailedImages, Record, Ties, takes
from asyncfetch.cli.running import run_interruptible
from asyncfetch.cli.services import open_atlas
from asyncfetch.errors import AsyncFetchError
from asyncfetch.text import counted

if TYPE_CHECKING:
    import numpy as np

    from asyncfetch.atlas import Atlas, Catalogue
    from asyncfetch.client import Client
    from asyncfetch.settings import Settings

__all__ = ["Comparison", "audit", "compare_services"]

_MAX_TARGETS = 5
_MAX_LISTED = 5
# Around the largest mouse sections, and the box of the adult mouse with a margin (REC-4).
_IMAGE_LOW, _IMAGE_HIGH = -500.0, 16_000.0
_SPACE_LOW, _SPACE_HIGH = (-500.0, -500.0, -500.0), (13_700.0, 8_500.0, 11_900.0)


@dataclass
class Comparison:
    """How one service compares.

    Attributes
    ----------
    service : str
    n_points : int
        Points that both answered.
    n_positions : int
        Positions compared: one per point and target.
    largest_difference : float
        In pixels, or µm for image_to_reference; over positions on the same image.
    n_other_images : int
        Positions for which another image was chosen, or which one of the two did not give.
    n_failed : int
        Points that one of the two did not answer.
    failures : list of str
        Why, for the first of them.
    skipped : str or None
        Why nothing was compared.
    """

    service: str
    n_points: int = 0
    n_positions: int = 0
    largest_difference: float = 0.0
    n_other_images: int = 0
    n_failed: int = 0
    failures: list[str] = field(default_factory=list)
    skipped: str | None = None

    def add(self, local: Any, remote: Any) -> None:
        """Compare the answers to one point."""
        self.n_points += 1
        pairs = zip(local, remote, strict=True) if isinstance(local, list) else [(local, remote)]
        for ours, theirs in pairs:
            self.n_positions += 1
            if getattr(ours, "section_image_id", None) != getattr(theirs, "section_image_id", None):
                self.n_other_images += 1
                continue
            for axis in "xyz":
                mine, other = getattr(ours, axis, None), getattr(theirs, axis, None)
                if mine is not None and other is not None:
                    self.largest_difference = max(self.largest_difference, abs(mine - other))

    def fail(self, what: str) -> None:
        """Count a point that was not answered."""
        self.n_failed += 1
        if len(self.failures) < _MAX_LISTED:
            self.failures.append(what)

    def agrees(self, tolerance: float) -> bool:
        """Tell whether all that was compared is the same."""
        return not self.n_other_images and self.largest_difference <= tolerance


@dataclass(frozen=True)
class _Question:
    service: str
    arguments: tuple[Any, ...]


def audit(
    store: Annotated[str, typer.Option(metavar="OUT", help="The store to compute from.")],
    given: Annotated[Given, takes(SERVER)],
    points: Annotated[int, typer.Option(min=1, metavar="N", help="Points per service.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the random points.")] = 0,
    tolerance: Annotated[
        float, typer.Option(metavar="D", help="Largest difference allowed, in pixels and µm.")
    ] = 1e-9,
    centers: Centers = None,
    ties: Ties = "lower",
    failed_images: FailedImages = "include",
    convert_spaces: Annotated[
        bool, typer.Option("--convert-spaces", help="Also ask about targets in the other reference space.")
    ] = False,
    record: Record = None,
    as_json: AsJson = False,
) -> None:
    """Compare computed positions with those of the API.

    The six services are asked about random points, and the same is computed from a store. Structure centres and atlas
    plates that the store does not hold are fetched from the API first. Exit code 6: the answers differ by more than the
    tolerance; 3: some points were not answered.
    """
    settings = given.settings()
    atlas = open_atlas(
        store, ties=ties, failed_images=failed_images, convert_spaces=convert_spaces, centers=centers
    )
    found = run_interruptible(partial(_audit, atlas, settings, points, seed))
    if as_json:
        print_json({"tolerance": tolerance, "services": [vars(each) for each in found]})
    else:
        for each in found:
            echo(_line(each))
    for each in found:
        for failure in each.failures:
            tell(f"{each.service}: {failure}")
    if not all(each.agrees(tolerance) for each in found):
        tell(f"error: the answers differ by more than {tolerance:g}")
        raise typer.Exit(ExitCode.VERIFICATION_FAILED)
    if any(each.n_failed for each in found):
        raise typer.Exit(ExitCode.SOME_FAILED)
    if not any(each.n_points for each in found):
        raise typer.Exit(ExitCode.NOTHING_MATCHED)


def _line(each: Comparison) -> str:
    if each.skipped:
        return f"{each.service:18}  not compared: {each.skipped}"
    unit = "µm" if each.service == "image_to_reference" else "px"
    line = (
        f"{each.service:18}  {counted(each.n_points, 'point')}, {counted(each.n_positions, 'position')}, "
        f"largest difference {each.largest_difference:.2e} {unit}"
    )
    line += f", {each.n_other_images} on other images" if each.n_other_images else ""
    return line + (f", {counted(each.n_failed, 'point')} not answered" if each.n_failed else "")


async def _audit(atlas: Atlas, settings: Settings, n_points: int, seed: int) -> list[Comparison]:
    from asyncfetch.client import Client

    async with Client(settings=settings) as client:
        completed = atlas.with_catalogue(await _completed(client, atlas.catalogue))
        return await compare_services(completed, client, n_points, seed)


async def _completed(client: Client, catalogue: Catalogue) -> Catalogue:
    """Add what the store does not hold of structure centres and of the plates of the atlases that are known."""
    from asyncfetch.allen import Query
    from asyncfetch.atlas import Catalogue

    further: dict[str, list[Any]] = {"centers": [], "data_sets": [], "images": []}
    for name, what, query in (
        *(
            [("centers", "structure centres", Query("StructureCenter"))]
            if not len(catalogue.structure_centers)
            else []
        ),
        *(
            part
            for atlas_id, data_set_id in catalogue.atlas_data_sets.items()
            if data_set_id not in catalogue.data_sets.id
            for part in (
                (
                    "data_sets",
                    f"the data set of atlas {atlas_id}",
                    Query("AtlasDataSet").association(f"atlases[id$eq{atlas_id}]").include("alignment3d"),
                ),
                (
                    "images",
                    f"the plates of atlas {atlas_id}",
                    Query("AtlasImage")
                    .association(f"atlas_data_set(atlases[id$eq{atlas_id}])")
                    .include("alignment2d"),
                ),
            )
        ),
    ):
        try:
            further[name] += await client.rows(query)
        except AsyncFetchError as error:
            tell(f"{what} are unavailable: {error.message}")
    return catalogue.join(
        Catalogue.from_rows(further["data_sets"], further["images"], structure_centers=further["centers"])
    )


async def compare_services(atlas: Atlas, client: Client, n_points: int, seed: int) -> list[Comparison]:
    """Draw points, and compare what is computed with what the API answers.

    Parameters
    ----------
    atlas : Atlas
        Computes.
    client : Client
        Asks, one request per point.
    n_points : int
        Points per service.
    seed : int
        Of the random numbers; the same seed and catalogue give the same points.

    Returns
    -------
    list of Comparison
        One per service.
    """
    import numpy as np

    from asyncfetch.engine.groups import share_out

    draw = _Draw(atlas, np.random.default_rng(seed))
    comparisons = []
    for service in (
        "image_to_reference",
        "reference_to_image",
        "image_to_image",
        "image_to_image_2d",
        "image_to_atlas",
        "structure_to_image",
    ):
        comparison = Comparison(service)
        comparisons.append(comparison)
        comparison.skipped = draw.obstacle(service)
        if comparison.skipped:
            continue

        async def compare(question: Any, comparison: Comparison = comparison) -> None:
            try:
                local = getattr(atlas, question.service)(*question.arguments).records()
                remote = await getattr(client.sync, question.service)(*question.arguments)
            except AsyncFetchError as error:
                comparison.fail(f"{question.arguments}: {error.message}")
            else:
                comparison.add(local, remote)

        questions = [draw.question(service) for _ in range(n_points)]
        await share_out(questions, compare, min(client.settings.max_images_at_once + 1, n_points))
    return comparisons


class _Draw:
    """Questions that a catalogue can answer, at random."""

    def __init__(self, atlas: Atlas, rng: np.random.Generator) -> None:
        import numpy as np

        self._rng = rng
        catalogue = atlas.catalogue
        sections, data_sets = catalogue.sections, catalogue.data_sets
        owners = catalogue.data_set_rows(sections.data_set_id)
        has_tsv = np.isfinite(sections.tsv).all((1, 2))
        is_numbered = np.isfinite(sections.section_number)
        has_tvr = np.isfinite(data_sets.tvr).all((1, 2)) & np.isfinite(data_sets.section_thickness_um)
        has_trv = np.isfinite(data_sets.trv).all((1, 2)) & np.isfinite(data_sets.section_thickness_um)
        self._flat = sections.image_id[has_tsv]
        is_seed = has_tsv & is_numbered & (owners >= 0) & has_tvr[owners] if len(data_sets) else has_tsv[:0]
        self._seeds = np.flatnonzero(is_seed)
        self._image_id = sections.image_id
        self._space_of_seed = data_sets.reference_space_id[owners] if len(data_sets) else owners
        is_found = is_numbered & np.isfinite(sections.tvs).all((1, 2))
        with_sections = np.isin(data_sets.id, sections.data_set_id[is_found])
        self._targets = np.flatnonzero(has_trv & with_sections & (data_sets.reference_space_id >= 0))
        self._data_set_id, self._space = data_sets.id, data_sets.reference_space_id
        self._converts = atlas.convert_spaces
        self._spaces = {space for pair in catalogue.space_transforms for space in pair}
        self._centers = catalogue.structure_centers
        plates = sections.annotated & is_found
        annotated = set(sections.data_set_id[plates].tolist())
        space_by_id = dict(zip(data_sets.id.tolist(), data_sets.reference_space_id.tolist(), strict=True))
        self._atlases = {
            atlas_id: space_by_id[data_set_id]
            for atlas_id, data_set_id in catalogue.atlas_data_sets.items()
            if data_set_id in annotated and data_set_id in space_by_id
        }

    def obstacle(self, service: str) -> str | None:
        """Return why a service cannot be asked about, if so."""
        needs_seed = service.startswith("image_to_")
        if needs_seed and not len(self._flat if service == "image_to_image_2d" else self._seeds):
            return "no image of the store can be placed"
        if service in {"image_to_image", "reference_to_image", "structure_to_image"} and not len(
            self._targets
        ):
            return "no data set of the store can be placed"
        if service == "image_to_atlas" and not any(
            len(self._near(space)) for space in self._atlases.values()
        ):
            return "no annotated plate is known in a space of the store's images"
        if service == "image_to_image" and not any(
            len(self._reachable(int(space))) for space in set(self._space_of_seed[self._seeds].tolist())
        ):
            return "no data set lies in a space of the store's images"
        if service == "structure_to_image" and not len(self._with_centers()):
            return "no structure centre is known in a space of the store's data sets"
        return None

    def question(self, service: str) -> _Question:
        """Return one question, for a service without an obstacle."""
        rng = self._rng
        xy = rng.uniform(_IMAGE_LOW, _IMAGE_HIGH, 2).tolist()
        if service == "image_to_image_2d":
            return _Question(service, (int(rng.choice(self._flat)), xy, self._some(self._flat)))
        if service == "reference_to_image":
            space = int(self._space[rng.choice(self._targets)])
            pir = rng.uniform(_SPACE_LOW, _SPACE_HIGH).tolist()
            return _Question(service, (space, pir, self._some(self._reachable(space))))
        if service == "structure_to_image":
            row = rng.choice(self._with_centers())
            here = self._centers.reference_space_id == self._space[row]
            structures = self._some(self._centers.structure_id[here])
            return _Question(service, (int(self._data_set_id[row]), structures))
        if service == "image_to_atlas":
            possible = [each for each, space in self._atlases.items() if len(self._near(space))]
            atlas_id = int(rng.choice(possible))
            seed = rng.choice(self._near(self._atlases[atlas_id]))
            return _Question(service, (int(self._image_id[seed]), xy, atlas_id))
        seed = rng.choice(self._seeds)
        if service == "image_to_reference":
            return _Question(service, (int(self._image_id[seed]), xy))
        while not len(self._reachable(int(self._space_of_seed[seed]))):
            seed = rng.choice(self._seeds)
        targets = self._some(self._reachable(int(self._space_of_seed[seed])))
        return _Question(service, (int(self._image_id[seed]), xy, targets))

    def _some(self, ids: np.ndarray) -> list[int]:
        n = int(self._rng.integers(1, min(_MAX_TARGETS, len(ids)) + 1))
        return [int(each) for each in self._rng.choice(ids, n, replace=False)]

    def _meets(self, spaces: np.ndarray, space: int) -> np.ndarray:
        """Tell which of some spaces can be reached from another."""
        import numpy as np

        if self._converts and space in self._spaces:
            return np.isin(spaces, list(self._spaces))
        same: np.ndarray = spaces == space
        return same

    def _near(self, space: int) -> np.ndarray:
        """Return the seeds from which a space can be reached."""
        near: np.ndarray = self._seeds[self._meets(self._space_of_seed[self._seeds], space)]
        return near

    def _reachable(self, space: int) -> np.ndarray:
        """Return the data sets that can be reached from a space."""
        reachable: np.ndarray = self._data_set_id[
            self._targets[self._meets(self._space[self._targets], space)]
        ]
        return reachable

    def _with_centers(self) -> np.ndarray:
        """Return the data sets in whose space structures have centres."""
        import numpy as np

        known = np.unique(self._centers.reference_space_id)
        placed: np.ndarray = self._targets[np.isin(self._space[self._targets], known)]
        return placed
