"""What a user can check: this machine, and whether the service is as it is assumed to be."""

from __future__ import annotations

from asyncfetch.doctor.disk import examine_disk
from asyncfetch.doctor.facts import Fact
from asyncfetch.doctor.machine import examine_machine

__all__ = ["Fact", "examine_disk", "examine_machine"]
