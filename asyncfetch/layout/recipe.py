"""The recipe of a view: all that decides which bytes its pixels become, from the grid to the compressor. Pure.

A recipe is resolved once per view and data set. Plans, commits and registered layouts hold it as one value, and
whatever makes or compares pixels takes it as one. In JSON its fields stand among those of what holds it.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import msgspec

from asyncfetch.errors import StoreItemError
from asyncfetch.geometry import Plane, ReferenceGrid
from asyncfetch.layout.bounds import GreyLevel, Id, Pitch  # noqa: TC001 - msgspec reads annotations
from asyncfetch.settings import Codec, Interpolation, Layer  # noqa: TC001 - msgspec reads annotations

if TYPE_CHECKING:
    from asyncfetch.settings import Settings, View

__all__ = ["CHOSEN", "MadeByRecipe", "Recipe", "interpolation_of", "is_coded", "is_numeric"]

#: Views whose colours are codes: mixing two of them would invent a third.
_CODED_VIEWS = frozenset({"expression", "tumor_feature_annotation", "tumor_feature_boundary"})


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How the pixels of one view of one data set are sampled and compressed.

    The order of the fields is the order in which differences are told.

    Attributes
    ----------
    um : float or None
        Pitch of the registered grid in µm; None where no plane is made.
    plane : Plane or None
        Coronal (y = i, x = r), sagittal (y = i, x = p) or transverse (y = p, x = r). A commit does not tell it.
    box_um : tuple of float or None
        Extent of the reference space along (p, i, r), in µm. A commit does not tell it.
    space : int or None
        The API's id of the reference space that the planes lie in; None where no plane is made.
    codec : str
        Compressor of the pixels.
    numeric_expression : bool
        Whether pixels are expression levels, three times the same, instead of the mask's colours.
    interpolation : str
        How the warp samples.
    parallel : bool
        atldld's approximation: grid points at k · um, with a constant slice coordinate, instead of voxel centres at
        (k + ½) · um on the section's own plane.
    fill : int
        Grey level of registered planes beside the image, and of slots without one.
    """

    um: Pitch | None = None
    plane: Plane | None = None
    box_um: tuple[Pitch, Pitch, Pitch] | None = None
    space: Id | None = None
    codec: Codec = "zstd"
    numeric_expression: bool = False
    interpolation: Interpolation = "linear"
    parallel: bool = False
    fill: GreyLevel = 0

    @classmethod
    def of(cls, view: View, settings: Settings, grid: ReferenceGrid | None, space: int | None = None) -> Self:
        """Resolve what the settings say for one view, registered on a grid of a reference space or on none."""
        return cls(
            um=None if grid is None else grid.um,
            plane=None if grid is None else grid.plane,
            box_um=None if grid is None else grid.box_um,
            space=None if grid is None else space,
            codec=settings.codec,
            numeric_expression=is_numeric(view, settings),
            interpolation=interpolation_of(view, settings),
            parallel=settings.parallel,
            fill=settings.fill,
        )

    @property
    def grid(self) -> ReferenceGrid | None:
        """The grid of the registered planes, None where none are made or their plane of section is not told."""
        if self.um is None or self.plane is None or self.box_um is None:
            return None
        return _grid_of(self.plane, self.um, self.box_um)

    @property
    def without_grid(self) -> Self:
        """The same recipe for what has no registered plane."""
        return msgspec.structs.replace(self, um=None, plane=None, box_um=None, space=None)

    @property
    def in_a_commit(self) -> Self:
        """The recipe as a commit tells it."""
        return msgspec.structs.replace(self, plane=None, box_um=None)

    def with_planes_of(self, other: Recipe) -> Self:
        """Return the recipe of pixels made by this one beside planes that were made by another."""
        planes = {name: getattr(other, name) for name in self.__struct_fields__ if name not in _OF_ALL_PIXELS}
        return msgspec.structs.replace(self, **planes)

    @property
    def origin_um(self) -> float:
        """Where the first grid point of y and x lies, in µm."""
        return 0.0 if self.parallel or self.um is None else self.um / 2

    def differences(self, other: Recipe) -> list[str]:
        """Return the names of the fields in which two recipes differ."""
        return [name for name in self.__struct_fields__ if getattr(self, name) != getattr(other, name)]

    def layers_made_otherwise(self, other: Recipe) -> set[Layer]:
        """Return the layers whose bytes another recipe would make otherwise, except for a plane on another grid."""
        differing = set(self.differences(other)) - _OF_THE_GRID
        if differing & _OF_ALL_PIXELS:
            return {"sections", "registered"}
        return {"registered"} if differing else set()


@lru_cache(maxsize=64)
def _grid_of(plane: Plane, um: float, box_um: tuple[float, float, float]) -> ReferenceGrid:
    # asked for several times per section
    return ReferenceGrid(plane=plane, um=um, box_um=box_um)


#: Where the planes lie. A commit tells the pitch and the space alone.
_OF_THE_GRID = frozenset({"um", "plane", "box_um", "space"})
#: What every stored pixel depends on; the other fields are those of registered planes.
_OF_ALL_PIXELS = frozenset({"codec", "numeric_expression"})
#: The fields that a user chooses; the others follow from the data set.
CHOSEN = tuple(name for name in Recipe.__struct_fields__ if name not in {"plane", "box_um"})

# The order in which they have always stood; later fields come behind.
_IN_JSON = tuple(
    dict.fromkeys(
        (
            "um",
            "plane",
            "box_um",
            "space",
            "codec",
            "interpolation",
            "parallel",
            "numeric_expression",
            "fill",
            *Recipe.__struct_fields__,
        )
    )
)
_FIELDS = frozenset(Recipe.__struct_fields__)


class MadeByRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What a store says of pixels, with the recipe that they were made by.

    Attributes
    ----------
    recipe : Recipe
        In JSON its fields stand among those of the class itself.
    """

    #: The fields of the recipe that come first in JSON, the field behind which the others come, and those left out.
    _leading: ClassVar[tuple[str, ...]] = ()
    _recipe_behind: ClassVar[str]
    _left_out: ClassVar[tuple[str, ...]] = ()

    recipe: Recipe

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a field of the recipe, which was an attribute of its own before."""
            if name in _FIELDS:
                kind = type(self).__name__
                warnings.warn(f"{kind}.{name} is now {kind}.recipe.{name}", DeprecationWarning, stacklevel=2)
                return getattr(self.recipe, name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def to_attributes(self) -> dict[str, Any]:
        """Return the JSON value of ``attributes.asyncfetch``."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        recipe: dict[str, Any] = document.pop("recipe")
        attributes = {name: recipe.pop(name) for name in self._leading}
        rest = {name: recipe[name] for name in _IN_JSON if name in recipe and name not in self._left_out}
        for key, value in document.items():
            attributes[key] = value
            if key == self._recipe_behind:
                attributes |= rest
        return attributes

    @classmethod
    def from_attributes(cls, attributes: Any, *, location: str) -> Self:
        """Read the JSON value of ``attributes.asyncfetch``.

        Raises
        ------
        StoreItemError
            It is not what this class says in this layout version.
        """
        try:
            return cls.parsed(attributes)
        except msgspec.ValidationError as error:
            raise StoreItemError(
                f"{location} is not written because it could not be read back ({error})", location=location
            ) from error

    @classmethod
    def parsed(cls, attributes: Any) -> Self:
        """Read the JSON value of ``attributes.asyncfetch``; raises msgspec's ValidationError."""
        if isinstance(attributes, dict):
            recipe = {name: value for name, value in attributes.items() if name in _FIELDS}
            attributes = {name: value for name, value in attributes.items() if name not in _FIELDS}
            attributes["recipe"] = recipe
        return msgspec.convert(attributes, cls)


def is_coded(view: str) -> bool:
    """Tell whether the colours of a view are codes, which must not be mixed."""
    return view in _CODED_VIEWS


def is_numeric(view: str, settings: Settings) -> bool:
    """Tell whether the colours of a view are turned into expression levels."""
    return view == "expression" and settings.numeric_expression


def interpolation_of(view: str, settings: Settings) -> Interpolation:
    """Return how a view is sampled: views whose colours are codes are never mixed, but expression levels are."""
    return "nearest" if is_coded(view) and not is_numeric(view, settings) else settings.interpolation
