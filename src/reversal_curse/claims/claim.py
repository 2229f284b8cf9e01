"""What a claim is, and how it is judged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from reversal_curse.config.grid import Sweep, varying
from reversal_curse.config.settings import Settings

SUPPORTED, CONTRADICTED = "supported", "contradicted"
INCONCLUSIVE, NOT_TESTED = "inconclusive", "not tested"
RESAMPLES, CONFIDENCE = 10_000, 0.95

Tables = dict[str, pl.DataFrame]
Effect = Callable[[Tables], pl.DataFrame]
Fields = dict[str, Any]
"""Fields that several claims share."""


class Threshold(NamedTuple):
    """The smallest effect that supports a claim, and the reason for this value."""

    value: float
    because: str


@dataclass(frozen=True)
class Claim:
    """A statement, the grid points that it is about, and the effect that decides whether it holds.

    `effect` maps the tables of those grid points to one number per seed (columns `seed`,
    `effect`); no rows mean that there is nothing to judge. The claim holds if the effect is at
    least `threshold`.
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
    remark: str = ""
    """What a reader must know to weigh the verdict, whatever the verdict and the config."""
    tables: tuple[str, ...] = ("metrics",)
    """Tables that the effect is computed from."""

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


@dataclass(frozen=True)
class Judgement:
    """The verdict on a claim, and its effect over the seeds."""

    verdict: str
    effect: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    median: float | None = None
    n_seeds: int = 0
    n_reaching: int = 0
    """Seeds whose own effect reaches the threshold."""
    reason: str | None = None
    """Why it was not tested."""


def judge(claim: Claim, tables: Tables) -> Judgement:
    """Judge a claim by the interval of its effect over seeds, not by the mean."""
    empty = [name for name, table in tables.items() if table.is_empty()]
    if empty:
        return Judgement(NOT_TESTED, reason=f"too small: no rows in {', '.join(empty)}")
    by_seed = claim.effect(tables).sort("seed")
    if by_seed.is_empty():
        return Judgement(NOT_TESTED, reason="too small: no seed learned what is compared")
    values = by_seed["effect"].to_numpy().astype(float)
    least = claim.threshold.value
    reaching = int((values >= least).sum())
    if not np.isfinite(values).all():
        return Judgement(INCONCLUSIVE, n_seeds=len(values), n_reaching=reaching)
    low, high = bootstrap_interval(values)
    verdict = SUPPORTED if low >= least else CONTRADICTED if high < least else INCONCLUSIVE
    if len(values) < 2:  # one seed has no spread, so its interval has no width
        verdict = INCONCLUSIVE
    center = float(values.mean()), low, high, float(np.median(values))
    return Judgement(verdict, *center, len(values), reaching)


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the percentile bootstrap interval (95 %) of the mean over seeds."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, size=(RESAMPLES, len(values))).mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
