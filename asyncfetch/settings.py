"""The settings of a client and of a run: one frozen record, checked when it is made.

The record is pure; the command line gathers the layers (arguments, the ``ASYNCFETCH_*`` environment, a TOML table)
and hands them to :meth:`Settings.from_layers`. A program gets the settings that it passes, and nothing from its
environment unless it asks for that: ``Settings.from_layers({"um": 10}, read_environment(os.environ))``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import msgspec

from asyncfetch.address import Address, parse_address
from asyncfetch.deprecation import warn_of_old_name
from asyncfetch.errors import SettingsError
from asyncfetch.names import did_you_mean, spelled_as
from asyncfetch.text import shown

__all__ = [
    "CHOICES",
    "ENVIRONMENT_PREFIX",
    "Codec",
    "Layer",
    "Ngff",
    "Settings",
    "Sync",
    "View",
    "parse_size",
    "read_environment",
    "under_new_names",
]

ENVIRONMENT_PREFIX = "ASYNCFETCH_"

Layer = Literal["source", "sections", "registered"]
View = Literal["image", "expression", "projection", "tumor_feature_annotation", "tumor_feature_boundary"]
Codec = Literal["zstd", "blosc-lz4", "jpegxl", "none"]
Interpolation = Literal["nearest", "linear", "cubic", "lanczos"]
Fetch = Literal["auto", "images", "tiles"]
Ngff = Literal["0.5", "0.6"]
Sync = Literal["data", "all", "none"]

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
#: Connections or threads: beyond this no server and no machine has any use for them.
AtOnce = Annotated[int, msgspec.Meta(ge=1, le=4096)]
MemoryBytes = Annotated[int, msgspec.Meta(ge=2**24)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Halvings = Annotated[int, msgspec.Meta(ge=0, le=16)]
Grey = Annotated[int, msgspec.Meta(ge=0, le=255)]
#: From half the width of a pixel of the finest images to the length of a brain.
PitchUm = Annotated[float, msgspec.Meta(ge=0.1, le=100_000)]
Range = tuple[float, float]
Structure = Annotated[str, msgspec.Meta(pattern=r"^structure:\s*\S")]
_RULES = {
    "jobs": 'a number of images from 1 to 4096, or "auto"',
    "um": 'a pitch in micrometres greater than 0, from 0.1 to 100000, or "full"',
    "downsample": "a number of halvings, from 0 to 16",
    "layers": f"one or more of {', '.join(get_args(Layer))}",
    "views": f"one or more of {', '.join(get_args(View))}",
    "codec": f"one of {', '.join(get_args(Codec))}",
    "interpolation": f"one of {', '.join(get_args(Interpolation))}",
    "fetch": f"one of {', '.join(get_args(Fetch))}",
    "ngff": f"one of {', '.join(get_args(Ngff))}",
    "sync": f"one of {', '.join(get_args(Sync))}",
    "roi": "x,y,width,height in full-resolution pixels, width and height greater than 0, or structure:ACRONYM",
    "roi_um": "p0:p1,i0:i1,r0:r1 in micrometres of the reference space, each range growing",
    "roi_space": "a reference space: 9, or 10 for the one that is flipped from left to right",
    "pad_um": "a length greater than 0, such as 1000um or 1mm",
    "fill": "a grey level from 0 to 255",
    "space": "a reference space: 9, or 10 for the one that is flipped from left to right",
    "memory_bytes": "a size of at least 16MiB",
    "max_jobs": "a number of images from 1 to 4096",
    "workers": "a number of threads from 1 to 4096",
    "requests_per_s": "a number greater than 0",
    "bytes_per_s": "a size greater than 0, such as 4MB",
    "attempts": "a whole number of at least 1",
    "page_rows": "a whole number of at least 1",
    "min_speed_bytes_per_s": "a number of bytes of at least 0",
    **dict.fromkeys(
        ("retry_base_s", "outage_patience_s", "connect_timeout_s", "stall_timeout_s"),
        "a number of seconds greater than 0",
    ),
    "pack": "true or false",
}
#: The names that a setting takes.
CHOICES: dict[str, tuple[str, ...]] = {
    "layers": get_args(Layer),
    "views": get_args(View),
    "codec": get_args(Codec),
    "interpolation": get_args(Interpolation),
    "fetch": get_args(Fetch),
    "ngff": get_args(Ngff),
    "sync": get_args(Sync),
}
#: What the options of the command line call settings of another name.
_OTHER_NAMES = {
    "bandwidth": "bytes_per_s",
    "memory": "memory_bytes",
    "min_speed": "min_speed_bytes_per_s",
    "pad": "pad_um",
    "rate": "requests_per_s",
    "view": "views",
}
#: What settings were called before, for one version.
_OLD_NAMES = {"most_jobs": "max_jobs"}
#: Variables that begin as those of settings do.
_NOT_SETTINGS = frozenset({"traceback"})
_MAX_SHOWN = 100
_HOST = re.compile(r"(\*?\.)?[\w-]+(\.[\w-]+)*\.?|\[?[0-9a-fA-F:.]+\]?")
_ADDRESSES = ("base_url", "proxy")
_REGIONS = ("roi", "roi_um")
_LENGTHS_UM = {"um": 1.0, "µm": 1.0, "μm": 1.0, "mm": 1000.0}
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


class _Renamed(msgspec.StructMeta):
    """A class whose settings can be given under their old names, too."""

    if not TYPE_CHECKING:
        # type checkers know the new names alone
        def __call__(self, *args: Any, **values: Any) -> Any:
            return super().__call__(*args, **under_new_names(values))


def under_new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by the names that settings have now; an old one warns, and counts where the new one is not given.

    The warning points to whoever called what calls this.
    """
    found = dict(values)
    for old, new in _OLD_NAMES.items():
        if old in found:
            warn_of_old_name(f"the setting {old}", new, stacklevel=4)
            value = found.pop(old)
            found.setdefault(new, value)
    return found


class Settings(msgspec.Struct, metaclass=_Renamed, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that can be chosen about talking to the API and about a mirror.

    Attributes
    ----------
    base_url : str
        Where the API answers (ADDR-1, ADDR-3). Paths such as ``/api/v2/data`` are appended.
    jobs : int or "auto"
        Image requests in flight at once; ``"auto"`` finds how many the server bears.
    max_jobs : int
        The most that ``"auto"`` goes to.
    requests_per_s : float
        Most requests that start in any one second. No limit is published (HTTP-7); the default
        stays near what polite scripts do.
    bytes_per_s : float or None
        Most bytes received per second, or None for no limit of our own.
    memory_bytes : int
        Budget for the decoded pixels in flight.
    attempts : int
        Most times one request is sent.
    retry_base_s : float
        The bound of the first delay before a request is sent again; it doubles from attempt to attempt. Pauses of which
        the server does not say how long, and probes in an outage, begin with it, too.
    outage_patience_s : float
        How long an outage is waited out, with probes, before the run ends; and how long one request waits because the
        server asks for it.
    hedge : bool
        Whether a second request is sent for images that take longer than almost all others; the first answer counts.
    connect_timeout_s, stall_timeout_s : float
        Seconds without a connection, and without one byte, before a request is given up.
    min_speed_bytes_per_s : float
        A body slower than this over ``stall_timeout_s`` counts as stalled.
    workers : int or None
        Threads for decoding, warping and writing; None means one for each core.
    sync : str
        What has reached the disk when a section is committed: its ``data``, ``all`` of it with the commit, or ``none``
        of it, so that a power cut may leave commits without data. Only for stores in a directory; object storage keeps
        what it has taken.
    page_rows : int
        Rows asked for in one metadata page.
    um : float or "full"
        Pitch of the registered grid in µm, which also picks the tier that is fetched; ``"full"`` fetches the
        full-resolution tier and registers at its own pitch.
    downsample : int or None
        Fixes the tier that is fetched: halved that many times.
    layers : tuple of str
        Which of ``source``, ``sections`` and ``registered`` are stored.
    views : tuple of str
        Which views of each section are stored.
    codec : str
        Compressor of ``sections`` and ``registered``.
    interpolation : str
        How the warp samples between pixels.
    parallel : bool
        Use atldld's approximation (a constant slice coordinate, grid points at k · um) instead of the
        section's own tilted plane.
    numeric_expression : bool
        Turn the jet colours of the view ``expression`` into expression levels from 0 to 255 before anything is made of
        them.
    fill : int
        Grey level of registered planes beside the image.
    pack : bool or None
        Whether each data set that is finished becomes one zip; None packs again those that were packed, and no others.
    space : int or None
        The reference space that planes are registered in, 9 or 10; None means that of each data set.
    ngff : "0.5", "0.6" or None
        The version of NGFF (OME-Zarr) that the images of a new store follow: 0.6 places sections in the reference space
        by a scene. None means that of the store, which is 0.5 for a new one.
    fetch : str
        Whether sections come as whole ``images`` or as ``tiles``, boxes of an image; ``auto`` takes tiles for regions
        and for images whose pixels are more than ``memory_bytes``.
    roi : tuple of int, str or None
        The region (x, y, width, height) that is fetched of every section, in full-resolution pixels of the section;
        or ``structure:CA1``, a structure by its acronym or id: the box around its centre.
    roi_um : tuple of tuple of float or None
        The region (p, i and r, from and to) that is fetched, in µm of the reference space ``roi_space``.
    roi_space : int
        The reference space that ``roi_um`` is in, 9 or 10; for data sets in the other one it is converted.
    pad_um : float or None
        Half the side of the box around a structure, in µm; 500 where it is not given.
    """

    base_url: str = "https://api.brain-map.org"
    trusted_hosts: tuple[str, ...] = ()
    proxy: str = "environment"
    jobs: AtOnce | Literal["auto"] = "auto"
    max_jobs: AtOnce = 64
    requests_per_s: Positive = 10.0
    bytes_per_s: Positive | None = None
    memory_bytes: MemoryBytes = 2**30
    attempts: Count = 6
    retry_base_s: Positive = 1.0
    outage_patience_s: Positive = 21_600.0
    hedge: bool = False
    connect_timeout_s: Positive = 15.0
    stall_timeout_s: Positive = 30.0
    min_speed_bytes_per_s: NotNegative = 5000.0
    workers: AtOnce | None = None
    sync: Sync = "data"
    page_rows: Count = 2000
    um: PitchUm | Literal["full"] = 25.0
    downsample: Halvings | None = None
    layers: tuple[Layer, ...] = ("source", "registered")
    views: tuple[View, ...] = ("image",)
    codec: Codec = "zstd"
    interpolation: Interpolation = "linear"
    parallel: bool = False
    numeric_expression: bool = False
    fill: Grey = 0
    space: Literal[9, 10] | None = None
    ngff: Ngff | None = None
    pack: bool | None = None
    fetch: Fetch = "auto"
    roi: tuple[int, int, int, int] | Structure | None = None
    roi_um: tuple[Range, Range, Range] | None = None
    roi_space: Literal[9, 10] = 9
    pad_um: Positive | None = None

    def __post_init__(self) -> None:
        self._check_addresses()
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise SettingsError(f"{name} = {value} is not allowed: a finite number", setting=name)
        for name, allowed in (("layers", Layer), ("views", View)):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                choices = ", ".join(get_args(allowed))
                raise SettingsError(
                    f"{name} must name each of {choices} at most once, and one at least", setting=name
                )

        self._check_region()

    def _check_addresses(self) -> None:
        for name in _ADDRESSES:
            value = getattr(self, name)
            if name == "proxy" and value in {"environment", "none"}:
                continue
            try:
                # it is frozen, and must not keep what came with the address
                msgspec.structs.force_setattr(self, name, parse_address(value))
            except ValueError as error:
                raise SettingsError(f"{name} {error}", setting=name) from None
        for host in self.trusted_hosts:
            if not _HOST.fullmatch(host):
                raise SettingsError(
                    f"trusted_hosts names {host!r}; name a host such as images.example.org, "
                    "or *.example.org for all below one",
                    setting="trusted_hosts",
                )

    def _check_region(self) -> None:
        given = "roi" if self.roi is not None else "roi_um"
        if self.pad_um is not None and not isinstance(self.roi, str):
            raise SettingsError(
                "pad_um is the room around a structure; give roi = structure:ACRONYM with it",
                setting="pad_um",
            )
        if self.roi is None and self.roi_um is None:
            return
        if self.roi is not None and self.roi_um is not None:
            raise SettingsError("roi and roi_um name two regions; give one", setting="roi")
        if isinstance(self.roi, tuple) and min(self.roi[2:]) < 1:
            raise SettingsError(f"roi = {_shown(self.roi)} is not allowed: {_RULES['roi']}", setting="roi")
        for low, high in self.roi_um or ():
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise SettingsError(
                    f"roi_um with {low:g}:{high:g} is not allowed: {_RULES['roi_um']}", setting="roi_um"
                )
        if "source" in self.layers:
            raise SettingsError(
                f"{given} goes without the layer source, because a region has no JPEG of its own; "
                "choose layers of sections and registered",
                setting="layers",
            )
        if self.fetch == "images":
            raise SettingsError(
                f"{given} is fetched in tiles; fetch = images is for whole images", setting="fetch"
            )

    @property
    def has_region(self) -> bool:
        """Whether a region is wanted instead of whole sections."""
        return self.roi is not None or self.roi_um is not None

    @classmethod
    def from_layers(cls, *layers: Mapping[str, Any]) -> Settings:
        """Merge mappings, the first that names a setting winning, and check every value.

        Parameters
        ----------
        *layers : mapping
            Setting names to values. Text values are read as numbers, lists (split at commas) and sizes
            (``1GiB``) where the setting has that type; lists may be any iterable, and what is in them twice counts
            once; None means "not given". Capitals do not count, neither in settings nor in the names that are
            their values.

        Raises
        ------
        SettingsError
            A name is unknown or a value is out of range; ``setting`` names it.
        """
        merged: dict[str, Any] = {}
        for layer in reversed(layers):
            given = {
                spelled_as(name, (*cls.__struct_fields__, *_OLD_NAMES)): value
                for name, value in layer.items()
                if value is not None
            }
            merged |= under_new_names(given)
        for name, value in merged.items():
            merged[name] = _from_text(name, value)
        return _convert(merged)

    @property
    def max_images_at_once(self) -> int:
        """The most image requests that are ever in flight at once."""
        return self.max_jobs if self.jobs == "auto" else self.jobs

    @property
    def most_jobs(self) -> int:
        """The old name of `max_jobs`."""
        warn_of_old_name("Settings.most_jobs", "Settings.max_jobs")
        return self.max_jobs

    @property
    def most_images_at_once(self) -> int:
        """The old name of `max_images_at_once`."""
        warn_of_old_name("Settings.most_images_at_once", "Settings.max_images_at_once")
        return self.max_images_at_once

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some settings changed and checked again."""
        return _convert(msgspec.structs.asdict(self) | under_new_names(changes))


def read_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that an environment names, as a layer for :meth:`Settings.from_layers`.

    Parameters
    ----------
    environment : mapping of str to str
        Such as ``os.environ``. ``ASYNCFETCH_JOBS`` is the setting ``jobs``; an empty value counts as not given.

    Raises
    ------
    SettingsError
        A variable names no setting, or its value is wrong; the message names the variable.
    """
    layer: dict[str, str] = {}
    for variable, value in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or not value.strip():
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name in _NOT_SETTINGS:
            continue
        try:
            for new, text in under_new_names({name: value}).items():
                _check_one(new, _from_text(new, text))
                layer[new] = value
        except SettingsError as error:
            raise SettingsError(
                f"environment variable {shown(variable, _MAX_SHOWN)}: {error.message}", setting=name
            ) from None
    return layer


def _convert(values: dict[str, Any]) -> Settings:
    for name, value in values.items():
        _check_one(name, value)
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        # each setting is right by itself, so that this is about two of them
        if isinstance(error.__cause__, SettingsError):
            raise error.__cause__ from None
        raise


def _check_one(name: str, value: Any) -> None:
    if name not in Settings.__struct_fields__:
        known = Settings.__struct_fields__
        meant = _OTHER_NAMES.get(name.lower().replace("-", "_"))
        hint = f"; did you mean {meant}?" if meant else did_you_mean(name, known)
        what = f"there is no setting {shown(name, _MAX_SHOWN)!r}"
        raise SettingsError(what + (hint or f"; known settings: {', '.join(known)}"), setting=name)
    others: dict[str, Any] = {"layers": ("registered",)} if name in _REGIONS else {}
    if name == "pad_um":
        others = {"layers": ("registered",), "roi": "structure:any"}
    try:
        msgspec.convert({name: value, **others}, Settings, strict=False)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, SettingsError) and name in {*_ADDRESSES, "trusted_hosts"}:
            # the value of an address may hold a password, and is not shown
            raise error.__cause__ from None
        is_switch = Settings.__annotations__[name] in {bool, "bool"}
        rule = _RULES.get(name) or (is_switch and "true or false") or str(error).split(" - at ")[0].lower()
        given = _shown(value) or "''"
        what = f"{name} = {given} is not allowed: {rule}"
        raise SettingsError(what + _hint(name, value), setting=name) from error


def _shown(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return shown(value, _MAX_SHOWN)
    parts = (":".join(map(str, part)) if isinstance(part, list | tuple) else str(part) for part in value)
    return shown(",".join(parts), _MAX_SHOWN)


def _hint(name: str, value: Any) -> str:
    """Return what was meant by a name that is not among those that a setting takes."""
    if name not in CHOICES:
        return ""
    given = value if isinstance(value, list | tuple) else [value]
    unknown = [each for each in given if isinstance(each, str) and each not in CHOICES[name]]
    return did_you_mean(unknown[0], CHOICES[name]) if unknown else ""


def _as_names(name: str, value: Any) -> Any:
    """Return the names of a list, each once and as it is spelled; items may be several with commas between."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        return value
    given = [
        spelled_as(part.strip(), CHOICES[name]) if isinstance(part, str) else part
        for item in value
        for part in (item.split(",") if isinstance(item, str) else [item])
    ]
    if isinstance(value, AbstractSet):
        # a set has no order of its own, and stores are compared with each other
        given.sort(key=str)
    return [each for k, each in enumerate(given) if each != "" and each not in given[:k]]


def _from_text(name: str, value: Any) -> Any:
    if name in {"layers", "views"}:
        return _as_names(name, value)
    if hasattr(value, "tolist"):
        # numpy's numbers and arrays are not numbers to the checks below
        value = value.tolist()
    if not isinstance(value, str) or isinstance(value, Address):
        return value
    if name in CHOICES:
        return spelled_as(value.strip(), CHOICES[name])
    if name == "trusted_hosts":
        return [part.strip() for part in value.split(",") if part.strip()]
    if name.endswith("_bytes") or name == "bytes_per_s":
        return parse_size(value, setting=name)
    if name == "roi":
        text = value.strip()
        return text if text.startswith("structure:") else text.split(",")
    if name == "roi_space" and value.strip().isdecimal():
        return int(value)
    if name == "pad_um":
        return _micrometres(value)
    if name == "roi_um":
        return [part.split(":") for part in value.split(",")]
    return value.strip()


def _micrometres(text: str) -> str | float:
    """Return a length such as ``1000um`` or ``1 mm`` in µm; what is not one is returned as it is, and refused later."""
    number, unit = text.strip().lower(), ""
    for suffix in _LENGTHS_UM:
        if number.endswith(suffix):
            number, unit = number.removesuffix(suffix).strip(), suffix
            break
    try:
        return float(number) * _LENGTHS_UM.get(unit, 1.0)
    except ValueError:
        return text


def parse_size(text: str, *, setting: str = "size") -> int:
    """Read a size such as ``1GiB``, ``500 MB`` or ``1048576`` as bytes.

    Raises
    ------
    SettingsError
        The text is not a number with a unit of B, kB, MB, GB, KiB, MiB or GiB.
    """
    stripped = text.strip().lower()
    number = stripped.rstrip("bkmgi ")
    unit = stripped[len(number) :].strip()
    try:
        size = int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise SettingsError(
            f"{setting} = {text!r}: write a size such as 1GiB or 500MB", setting=setting
        ) from None
    return size


# Before there are threads: msgspec ends the process where two of them meet a type for the first time.
_MET = msgspec.json.Decoder(Settings)
