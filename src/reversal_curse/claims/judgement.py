"""Judge a claim: intervals over seeds, the verdict, and what many verdicts at once are worth."""

import math
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import polars.selectors as cs

from reversal_curse.claims.claim import Claim, Tables, Threshold
from reversal_curse.tables.summaries import CONFIDENCE, t_interval

SUPPORTED, CONTRADICTED = "supported", "contradicted"
INCONCLUSIVE, NOT_TESTED = "inconclusive", "not tested"
ORDER = CONTRADICTED, INCONCLUSIVE, SUPPORTED
LEAST_SEEDS = 5
"""Fewer seeds decide nothing, and a grid point with fewer does not count beside others."""


@dataclass(frozen=True)
class Judgement:
    """The verdict on a claim, and its effect over the seeds at the grid point that decides it."""

    verdict: str
    effect: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    median: float | None = None
    n_seeds: int = 0
    """Seeds behind the interval."""
    n_reaching: int = 0
    """Of these, seeds whose own effect meets the threshold."""
    n_points: int = 0
    n_left_out: int = 0
    """Effects (of a seed at a grid point) that do not count: not learned, not finite, too few."""
    p_value: float | None = None
    """Probability of a verdict at least as clear if the truth lay at the threshold's nearest end;
    for either verdict, at any of the points."""
    reason: str | None = None
    """Why it was not tested."""


def judge(claim: Claim, tables: Tables) -> Judgement:
    """Judge a claim by the interval of its effect over seeds, at the least favourable point."""
    empty = [name for name, table in tables.items() if table.is_empty()]
    if empty:
        return Judgement(NOT_TESTED, reason=f"too small: no rows in {', '.join(empty)}")
    rows = claim.effect(tables)
    # A seed with a number that is not finite, anywhere in the tables, counts nowhere.
    lists = cs.by_dtype(pl.List(pl.Float32)).list.eval(pl.element().is_finite()).list.all()
    finite = pl.all_horizontal(cs.float().is_finite().fill_null(True), lists)
    diverged = {seed for table in tables.values() for seed in table.filter(~finite)["seed"]}
    whole = ~pl.col("seed").is_in(list(diverged))
    counted = rows.filter(whole, pl.col("effect").is_finite()).sort("seed")
    points = counted.partition_by("run") if "run" in rows.columns else [counted]
    values = [point["effect"].to_numpy().astype(float) for point in points if len(point)]
    values = [one for one in values if len(one) >= LEAST_SEEDS] or values
    if len(values) < claim.points:
        return Judgement(NOT_TESTED, reason="too small: too few seeds learned what is compared")
    by_point = [_at_point(one, claim.threshold) for one in values]
    # Contradicted first, then the interval that reaches furthest out.
    worst, *_ = min(by_point, key=lambda point: (ORDER.index(point[0].verdict), point[1]))
    # At all points a claim holds as surely as at the worst; one of k fails by chance k times.
    p_supported = max(p[0] for *_, p in by_point)
    p_contradicted = len(by_point) * min(p[1] for *_, p in by_point)
    verdict = worst.verdict
    if verdict == CONTRADICTED and 2 * p_contradicted >= 1 - CONFIDENCE:
        verdict = INCONCLUSIVE
    enough = worst.n_seeds >= LEAST_SEEDS
    return replace(
        worst,
        verdict=verdict,
        n_points=len(values),
        n_left_out=len(rows) - sum(map(len, values)),
        p_value=2 * min(p_supported, p_contradicted, 0.5) if enough else None,
    )


def _at_point(
    values: np.ndarray, threshold: Threshold
) -> tuple[Judgement, float, tuple[float, float]]:
    """Judge the effects of seeds at one point.

    Also returns how far the interval stays within the threshold, and the p-values of both verdicts.
    """
    # Imported here: it takes half a second, and building the DAG does not need it.
    from scipy.special import stdtr

    n, mean = len(values), float(values.mean())
    reaching = int(((values > threshold.above) & (values < threshold.below)).sum())
    low, high = t_interval(values)
    verdict, p_values = INCONCLUSIVE, (1.0, 1.0)
    if n >= LEAST_SEEDS:
        if threshold.above < low and high < threshold.below:
            verdict = SUPPORTED
        elif high < threshold.above or threshold.below < low:
            verdict = CONTRADICTED
        error = max(values.std(ddof=1) / math.sqrt(n), 1e-300)  # seeds may agree exactly
        t = np.array([mean - threshold.above, threshold.below - mean]) / error
        p_values = float(stdtr(n - 1, -t).max()), float(stdtr(n - 1, t).min())
    median = float(np.median(values))
    margin = min(low - threshold.above, threshold.below - high)
    return Judgement(verdict, mean, low, high, median, n, reaching), margin, p_values


def holm(p_values: pl.Series) -> pl.Series:
    """Adjust p-values for their number (Holm 1979): the chance of one wrong verdict among all."""
    ordered = p_values.to_frame("p").with_row_index().drop_nulls().sort("p")
    factor = ordered.height - pl.int_range(pl.len())
    adjusted = ordered.select("index", holm=(pl.col("p") * factor).cum_max().clip(0, 1))
    every = p_values.to_frame("p").with_row_index()
    return every.join(adjusted, on="index", how="left", maintain_order="left")["holm"]
