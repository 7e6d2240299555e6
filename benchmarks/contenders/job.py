"""What a contender is asked to do; needs the standard library alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes
    ----------
    base_url : str
        Where the replica answers.
    data_set_id : int
    image_ids : list of int
        The section images; empty for all of the data set.
    layers : str
        Of source, sections and registered, with commas between.
    um : str
        Pitch of the registered grid, or ``full``.
    codec : str
        Compressor of pixels.
    out : str
        A folder; what is in it afterwards counts as stored.
    jobs : int or None
        Requests in flight, for those that have several; None leaves it to the contender.
    save : bool
        Whether registered planes are kept.
    on_disk : bool
        Whether the clock runs until the disk itself holds what was written, and not the system's memory.
    """

    base_url: str
    data_set_id: int
    layers: str
    um: str
    codec: str
    out: str
    image_ids: list[int] = field(default_factory=list)
    jobs: int | None = 8
    save: bool = True
    on_disk: bool = False

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read a job."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Return the job as the argument of a program."""
        return json.dumps(asdict(self))

    def does(self, layer: str) -> bool:
        """Return whether a layer is wanted."""
        return layer in self.layers.split(",")
