"""The six synchronization services as the API offers them, computed from the rows that the replica has.

Inferred of the real services and followed here: a point of another reference space than the target's is taken there
by the ReferenceToReferenceTransform (REC-5).
"""

from __future__ import annotations

import json
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

from asyncfetch.allen.sync import SyncRequest, parse_sync_request, sync_json, sync_xml
from asyncfetch.atlas import Atlas, Catalogue, space_transforms_of
from asyncfetch.errors import QueryError
from asyncfetch.replica.tables import Links

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncfetch.replica.rma import RowSource

__all__ = ["SyncServices", "catalogue_of"]


#: Sections whose rows are read at once, 4 kB each.
_MAX_SECTIONS = 200_000


class SyncServices:
    """The six services over a source of rows, which must not change meanwhile.

    Parameters
    ----------
    source : RowSource
        The rows; they are read when the first answer is asked for.
    """

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self._reading = threading.Lock()

    @cached_property
    def _atlas(self) -> Atlas:
        return Atlas(catalogue_of(self._source), convert_spaces=True)

    def answer(self, service: str, seed: str, parameters: Mapping[str, str], fmt: str) -> bytes:
        """Return the body of a reply; it blocks.

        Parameters
        ----------
        service, seed : str
            From the path.
        parameters : mapping of str to str
            The decoded query of the address.
        fmt : str
            ``json`` or ``xml``.

        Raises
        ------
        QueryError
            A parameter is missing or wrong.
        SelectionError
            The seed or the atlas is not known, or cannot be placed.
        """
        request = parse_sync_request(service, seed, parameters)
        with self._reading:
            atlas = self._atlas
        records = _located(atlas, request)
        if fmt == "xml":
            return sync_xml(request.service, records, seed_id=request.seed_id)
        reply = sync_json(request.service, records, seed_id=request.seed_id)
        return json.dumps(reply, separators=(",", ":")).encode()


def catalogue_of(source: RowSource) -> Catalogue:
    """Read the rows that the six services need, all at once.

    Raises
    ------
    QueryError
        There are too many.
    """
    tables = source.tables
    n_sections = sum(len(tables.get(model, ())) for model in ("SectionImage", "AtlasImage"))
    if n_sections > _MAX_SECTIONS:
        raise QueryError(
            f"Error in query: the replica computes the services over at most {_MAX_SECTIONS} sections, "
            f"and has {n_sections}"
        )
    flat = {row["section_image_id"]: row for row in tables.get("Alignment2d", ())}
    solid = {row["aligned_id"]: row for row in tables.get("Alignment3d", ())}
    data_sets = [
        row | {"alignment3d": solid.get(row["id"])}
        for model in ("SectionDataSet", "AtlasDataSet")
        for row in tables.get(model, ())
    ]
    images = [
        row | {"alignment2d": flat.get(row["id"])}
        for model in ("SectionImage", "AtlasImage")
        for row in tables.get(model, ())
    ]
    plates = source.links.get("atlas_data_sets_atlases", ())
    return Catalogue.from_rows(
        data_sets,
        images,
        structure_centers=tables.get("StructureCenter", ()),
        atlas_data_sets={} if isinstance(plates, Links) else {atlas: of for of, atlas in plates},
        space_transforms=space_transforms_of(tables.get("ReferenceToReferenceTransform", ())),
    )


def _located(atlas: Atlas, request: SyncRequest) -> Any:
    seed, point, targets = request.seed_id, request.point, request.target_ids
    match request.service:
        case "image_to_reference":
            return atlas.image_to_reference(seed, point).records()
        case "image_to_image":
            return atlas.image_to_image(seed, point, targets).records()
        case "image_to_image_2d":
            return atlas.image_to_image_2d(seed, point, targets).records()
        case "image_to_atlas":
            return atlas.image_to_atlas(seed, point, targets[0]).records()
        case "reference_to_image":
            return atlas.reference_to_image(seed, point, targets).records()
        case "structure_to_image":
            return atlas.structure_to_image(seed, targets).records()
