"""What figures and claims both read off the tables of pretrained models."""

from __future__ import annotations

import numpy as np
import polars as pl

STATE = ["model", "kind", "seed", "stage"]
"""Columns that tell the states of models apart."""
PERMUTATIONS = 400
MASKED = pl.col("kind") != "causal"
AFTER = pl.col("stage") == "after"
LEARNED = 0.9
"""Part of the forward questions that are answered, from which on the reverse says something."""


def answer_means(answers: pl.DataFrame) -> pl.DataFrame:
    """Per state and direction: means over facts of the losses (nats per token) and exact matches.

    `margin` is how much less the right answer costs than another fact's.
    """
    margin = (pl.col("nll_shuffled") - pl.col("nll")).mean().alias("margin")
    means = pl.col("nll", "nll_shuffled", "exact", "chance").mean()
    return answers.group_by(*STATE, "direction").agg(means, margin).sort(*STATE, "direction")


def learned(answers: pl.DataFrame) -> pl.DataFrame:
    """One row per state after fine-tuning whose forward facts were learned.

    `forward_` and `reverse_` columns are those of `answer_means`.
    """
    means = answer_means(answers).filter(AFTER)
    of = {
        direction: means.filter(pl.col("direction") == direction).drop("direction")
        for direction in ("forward", "reverse")
    }
    named = [
        frame.rename({c: f"{direction}_{c}" for c in frame.columns if c not in STATE})
        for direction, frame in of.items()
    ]
    both = named[0].join(named[1], on=STATE, maintain_order="left")
    return both.filter(pl.col("forward_exact") >= LEARNED)


def head_correlations(scores: pl.DataFrame) -> pl.DataFrame:
    """Correlation over facts of forward and reverse scores, per state, layer and head.

    Relations have templates, and so scores, of their own, and how many tokens of a subject are
    masked is the same in both layouts. So the means over facts of one relation and length are taken
    off, and in the null distribution facts are shuffled among those. `null_low` and `null_high`
    hold 95 % of it.
    """
    frames = [pl.DataFrame(schema=_correlation_schema(scores))]
    for state, part in scores.partition_by(STATE, as_dict=True, maintain_order=True).items():
        alike = pl.struct("relation", "tokens").rank("dense").alias("alike")
        part = part.with_columns(alike).sort("layer", "head", "alike", "fact")
        part = part.filter(pl.col("fact").n_unique().over("alike") > 1)
        heads = part.select("layer", "head").unique(maintain_order=True)
        if heads.is_empty():
            continue
        alike = part["alike"].to_numpy().reshape(heads.height, -1)[0]
        forward, reverse = (
            _standardised(part[name].to_numpy().reshape(heads.height, -1), alike)
            for name in ("score_forward", "score_reverse")
        )
        rng = np.random.default_rng(0)
        null = np.stack(
            [(forward * reverse[:, _shuffled(alike, rng)]).sum(1) for _ in range(PERMUTATIONS)]
        )
        low, high = np.quantile(null, [0.025, 0.975], axis=0)
        found = heads.with_columns(
            correlation=pl.Series((forward * reverse).sum(1)),
            null_low=pl.Series(low),
            null_high=pl.Series(high),
        )
        keys = {name: pl.lit(value) for name, value in zip(STATE, state, strict=True)}
        found = found.with_columns(**keys)
        frames.append(found.select(frames[0].columns).cast(frames[0].schema))
    return pl.concat(frames)


def _correlation_schema(scores: pl.DataFrame) -> dict[str, pl.DataType]:
    keys = {name: scores.schema[name] for name in (*STATE, "layer", "head")}
    return keys | dict.fromkeys(("correlation", "null_low", "null_high"), pl.Float64)


def _standardised(values: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """Rows (heads, facts) without the means of groups, of length 1: products correlate."""
    values = values.astype(float)
    for one in np.unique(alike):
        values[:, alike == one] -= values[:, alike == one].mean(1, keepdims=True)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length > 0, length, 1)


def _shuffled(alike: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random order of the facts, which are sorted by group, within their groups."""
    return np.lexsort((rng.random(len(alike)), alike))
