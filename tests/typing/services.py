"""Programs over the six services; mypy and pyright prove that whoever answers them is asked alike."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import assert_type

import numpy as np

import asyncfetch
from asyncfetch import blocking
from asyncfetch.allen import ImageSync, Nested, ReferencePoint, SynchronizationServices
from asyncfetch.atlas import Atlas, ImagePositions, ReferencePositions

type Local = SynchronizationServices[ReferencePositions, ImagePositions, ImagePositions, ImagePositions]
type Awaited = SynchronizationServices[
    Awaitable[Nested[ReferencePoint]],
    Awaitable[Nested[ImageSync]],
    Awaitable[Nested[list[ImageSync]]],
    Awaitable[list[ImageSync]],
]
type Blocking = SynchronizationServices[
    Nested[ReferencePoint], Nested[ImageSync], Nested[list[ImageSync]], list[ImageSync]
]


def whoever_answers(
    atlas: Atlas, client: asyncfetch.Client, waiting: blocking.Client
) -> tuple[Local, Awaited, Blocking]:
    """Three assignments: each has the six services, with the same parameters."""
    return atlas, client.sync, waiting.sync


async def main(client: asyncfetch.Client, waiting: blocking.Client, atlas: Atlas) -> None:
    point = await client.sync.image_to_reference(69289721, (2896.0, 1024.0))
    assert_type(point, ReferencePoint)
    assert_type(waiting.sync.image_to_reference(69289721, [2896.0, 1024.0]), ReferencePoint)
    found = await client.sync.reference_to_image(9, (6085.0, 3670.0, 4883.0), [68545324])
    assert_type(found, list[ImageSync])
    assert_type(found[0].section_image_id, int | None)
    plate = await client.sync.image_to_atlas(69289721, (2896.0, 1024.0), 1)
    assert_type(plate, ImageSync)
    assert_type(await client.sync.structure_to_image(68545324, [315]), list[ImageSync])

    many = np.zeros((5, 2))
    assert_type(await client.sync.image_to_reference(69289721, many), Nested[ReferencePoint])
    assert_type(atlas.image_to_reference(69289721, many).records(), Nested[ReferencePoint])
    assert_type(atlas.image_to_image(69289721, many, [68545324]), ImagePositions)

    jpeg = await client.image_bytes(69289721, downsample=4, view="expression")
    assert_type(jpeg, bytes)


def mistakes(client: asyncfetch.Client, waiting: blocking.Client, atlas: Atlas) -> None:
    atlas.image_to_reference(69289721, pixels=(1, 2))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    waiting.sync.structure_to_image(68545324, "315")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    waiting.image(69289721, downsampel=4)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    waiting.data_sets(genes="Pvalb")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.sync.image_to_plate(1, (1, 2))  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


class Shifted:
    """Services that take another word for the same: no type checker lets them pass for the six."""

    def image_to_reference(self, image_id: int, xy: object) -> ReferencePositions:
        raise NotImplementedError


def a_stranger(stranger: Shifted) -> Local:
    return stranger  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
