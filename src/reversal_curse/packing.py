"""Small grid points share a training job, so that a sweep does not flood the scheduler."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from reversal_curse.cost import seconds
from reversal_curse.settings import Settings
from reversal_curse.sweep import settings_json
from reversal_curse.versions import DATA_VERSION, TRAINING_VERSION

MAX_POINTS = 100  # in one job: their settings travel on its command line


@dataclass(frozen=True)
class Pack:
    """The grid points of one training job, all of one family."""

    family: str
    points: dict[str, Settings]
    """Run directory (relative) to settings."""
    sweeps: tuple[str, ...]
    """The sweeps that have these grid points."""
    seconds: float
    """Estimated time."""

    @property
    def name(self) -> str:
        """Stands for these grid points and today's training code: `gpt_` and ten letters."""
        content = json.dumps([*self.points, DATA_VERSION, TRAINING_VERSION])
        digest = hashlib.sha256(content.encode()).digest()
        return f"{self.family}_{''.join(chr(ord('a') + byte % 16) for byte in digest[:10])}"

    def to_json(self) -> str:
        """The settings of all points, as one line for a command."""
        return f"[{', '.join(map(settings_json, self.points.values()))}]"


def packs(
    sweeps: dict[str, dict[str, Settings]], job_minutes: float, hardware: str
) -> dict[str, Pack]:
    """Every grid point of the sweeps in exactly one pack, by name.

    A pack is closed once its estimate reaches `job_minutes`, so that no job but the last is
    shorter. Only points of the same family and the same sweeps share one: a figure trains
    nothing that it does not show.
    """
    groups: dict[tuple, dict[str, Settings]] = {}
    for points in sweeps.values():
        for directory, settings in points.items():
            used = tuple(name for name in sweeps if directory in sweeps[name])
            groups.setdefault((settings.family, used), {})[directory] = settings
    found = {}
    for (family, used), points in groups.items():
        for part, total in _filled(points, 60 * job_minutes, hardware):
            pack = Pack(family, part, used, total)
            found[pack.name] = pack
    return found


def _filled(
    points: dict[str, Settings], enough: float, hardware: str
) -> Iterator[tuple[dict[str, Settings], float]]:
    part, total = {}, 0.0
    for directory, settings in points.items():
        part[directory] = settings
        total += seconds(settings, hardware)
        if total >= enough or len(part) == MAX_POINTS:
            yield part, total
            part, total = {}, 0.0
    if part:
        yield part, total
