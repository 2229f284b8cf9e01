"""What a claim is, and the data that it is about."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from reversal_curse.config.grid import Sweep, varying
from reversal_curse.config.settings import Settings

Tables = dict[str, pl.DataFrame]
Effect = Callable[[Tables], pl.DataFrame]
Fields = dict[str, Any]
"""Fields that several claims share."""


class Threshold(NamedTuple):
    """The effects that support a claim, from `above` to `below`, and the reason for these ends."""

    above: float
    because: str
    below: float = math.inf


@dataclass(frozen=True)
class Claim:
    """A statement, the grid points that it is about, and the effect that decides whether it holds.

    `effect` maps the tables of those grid points to one number per seed (columns `seed`, `effect`),
    or, with a column `run`, to one per grid point and seed; null if a seed does not count there.
    The claim holds if the mean over seeds meets `threshold`, at every grid point.
    """

    paper: str
    """A key of `PAPERS`, and the place in it: `P1, figure 5`."""
    statement: str
    measures: str
    """The effect in words, with its unit."""
    effect: Effect
    threshold: Threshold
    where: Mapping[str, tuple] = field(default_factory=dict)
    """The values that settings may have; empty for pretrained models."""
    varies: tuple[str, ...] = ()
    """Settings that must differ between the grid points of a sweep."""
    may_vary: tuple[str, ...] = ()
    """Settings that may differ as well; all others must be equal."""
    check: str = ""
    """Why no result could contradict it; empty if it is evidence."""
    remark: str = ""
    """What a reader must know to weigh the verdict, whatever the verdict and the config."""
    tables: tuple[str, ...] = ("metrics",)
    """Tables that the effect is computed from."""
    points: int = 1
    """Grid points at which seeds must count."""

    @property
    def pretrained(self) -> bool:
        """Whether the claim is about the config's pretrained models."""
        return self.tables[0].startswith("pretrained_")


@dataclass(frozen=True)
class Selection:
    """The data that a claim is judged on."""

    points: dict[str, Settings] = field(default_factory=dict)
    """Run directory to settings."""
    sweeps: tuple[str, ...] = ()
    reason: str = ""
    """Why there are no such data."""


def select(claim: Claim, sweeps: Mapping[str, Sweep]) -> Selection:
    """Select the grid points that meet a claim's conditions, whatever their sweeps are called."""
    points: dict[str, Settings] = {}
    used, found = [], False
    for name, sweep in sweeps.items():
        meeting, varied = _meeting(claim.where, sweep)
        found = found or bool(meeting)
        if meeting and set(claim.varies) <= set(varied) <= {*claim.varies, *claim.may_vary}:
            points |= meeting
            used.append(name)
    if used:
        return Selection(points, tuple(used))
    conditions = ", ".join(f"{n} {' or '.join(map(str, v))}" for n, v in claim.where.items())
    if not found:
        return Selection(reason=f"not in this config: no grid point has {conditions}")
    also = f" (these may vary too: {', '.join(claim.may_vary)})" if claim.may_vary else ""
    needed = f"only {' and '.join(claim.varies)} varied" if claim.varies else "nothing varied"
    return Selection(reason=f"needs a sweep with {conditions} and {needed}{also}")


def _meeting(where: Mapping[str, tuple], sweep: Sweep) -> tuple[dict[str, Settings], list[str]]:
    """Return a sweep's grid points that meet `where`, and the settings that vary among them."""
    if any(sweep.values[name].isdisjoint(allowed) for name, allowed in where.items()):
        return {}, []
    if all(sweep.values[name] <= set(allowed) for name, allowed in where.items()):
        return sweep.points, sweep.varied
    meeting = {
        run: settings
        for run, settings in sweep.points.items()
        if all(getattr(settings, name) in allowed for name, allowed in where.items())
    }
    return meeting, varying([settings.described() for settings in meeting.values()])
