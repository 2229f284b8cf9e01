"""What a claim is, and how it is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from reversal_curse.config import Config
from reversal_curse.registry import ALL_FIGURES, PRETRAINED_FIGURES

SUPPORTED, CONTRADICTED = "supported", "contradicted"
INCONCLUSIVE, NOT_TESTED = "inconclusive", "not tested at this scale"
RESAMPLES = 10_000
CONFIDENCE = 0.95

Tables = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Claim:
    """A statement, how its effect is measured, and from which value on it holds.

    `effect` maps the tables of the figure's sweep to one number per seed (columns `seed`,
    `effect`); no rows mean that the sweep lacks the grid points. The claim holds where the
    effect is at least `threshold`.
    """

    id: str
    paper: str
    """`P1` (Zhu et al. 2024) or `P2` (Jeon et al. 2026), and the section."""
    statement: str
    figure: str
    """The figure that shows it; the claim reads the same sweep, or the same pretrained models."""
    measures: str
    """The effect in words, with its unit."""
    effect: Callable[[Tables], pl.DataFrame]
    threshold: float
    because: str
    """Why the threshold is what it is."""
    note: str = ""
    """What was tried and seen with the default config, which does not bear the claim out."""
    remark: str = ""
    """What a reader must know to weigh the verdict, whatever it is and with any config."""
    also: tuple[str, ...] = ()
    """Tables that the effect is computed from beside those of the figure."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Run tables that the effect is computed from."""
        return (*ALL_FIGURES[self.figure].tables, *self.also)

    def source(self, config: Config) -> str | None:
        """Where its tables are, below `results/`; None where the config has nothing of it."""
        if self.figure in PRETRAINED_FIGURES:
            return "pretrained" if config.pretrained else None
        sweep = config.figures.get(self.figure)
        return f"sweeps/{sweep}" if sweep else None


@dataclass(frozen=True)
class Judgement:
    """A claim's effect over the seeds, its interval, and what follows."""

    verdict: str
    effect: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    median: float | None = None
    n_seeds: int = 0
    n_reaching: int = 0
    """Seeds whose own effect reaches the threshold."""


def judge(claim: Claim, tables: Tables | None) -> Judgement:
    """The verdict on a claim; it follows from the interval, not from the mean.

    `tables` is None where the config does not render the claim's figure.
    """
    if tables is None or any(table.is_empty() for table in tables.values()):
        return Judgement(NOT_TESTED)
    by_seed = claim.effect(tables).sort("seed")
    if by_seed.is_empty():
        return Judgement(NOT_TESTED)
    values = by_seed["effect"].to_numpy().astype(float)
    reaching = int((values >= claim.threshold).sum())
    if not np.isfinite(values).all():
        return Judgement(INCONCLUSIVE, n_seeds=len(values), n_reaching=reaching)
    low, high = bootstrap_interval(values)
    if len(values) < 2:
        verdict = INCONCLUSIVE  # one seed has no spread, and its interval no width
    elif low >= claim.threshold:
        verdict = SUPPORTED
    elif high < claim.threshold:
        verdict = CONTRADICTED
    else:
        verdict = INCONCLUSIVE
    center = float(values.mean()), low, high, float(np.median(values))
    return Judgement(verdict, *center, len(values), reaching)


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """Percentile bootstrap interval (95 %) of the mean over seeds."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, size=(RESAMPLES, len(values))).mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
