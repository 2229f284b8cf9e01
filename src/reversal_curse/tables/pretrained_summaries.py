"""Summaries of the tables of pretrained models, for figures and claims."""

import numpy as np
import polars as pl

STATE = ["model", "arm", "kind", "seed", "stage"]
"""The columns that identify a state of a model."""
PERMUTATIONS = 400
AFTER = pl.col("stage") == "after"
LEARNED = 0.9
"""Share of forward questions that a model must answer before its reverse answers count."""


def answer_means(answers: pl.DataFrame) -> pl.DataFrame:
    """Average every measure over facts; `margin` is how far `nll` is below `nll_shuffled`."""
    key = [*STATE, "direction"]
    margin = (pl.col("nll_shuffled") - pl.col("nll")).mean().alias("margin")
    means = pl.exclude(*key, "fact", "relation", "tokens").mean()
    return answers.group_by(key).agg(means, margin).sort(key)


def learned(answers: pl.DataFrame) -> pl.DataFrame:
    """Pick the fine-tuned states that learned the forward facts; returns `nll_forward` etc."""
    means = answer_means(answers).filter(AFTER)
    both = means.pivot("direction", ["forward", "reverse"], index=STATE)
    return both.filter(pl.col("exact_forward") >= LEARNED)


def head_correlations(scores: pl.DataFrame) -> pl.DataFrame:
    """Correlate forward and reverse scores over facts, per state, layer and head.

    The relation (its templates) and the number of masked tokens shift the scores of both layouts.
    So facts that agree in both form a group, whose mean is subtracted; the null distribution
    shuffles facts within groups, and 95 % of it lies between `null_low` and `null_high`.
    """
    both, alike = pl.col("score_forward", "score_reverse").cast(pl.Float64), ["relation", "tokens"]
    columns = ("correlation", "null_low", "null_high")
    none = scores.clear().select(*STATE, "layer", "head")
    frames = [none.with_columns(pl.lit(None, pl.Float64).alias(name) for name in columns)]
    compared = scores.filter(pl.col("fact").n_unique().over(*STATE, *alike) > 1)
    for part in compared.partition_by(STATE, maintain_order=True):
        part = part.sort("layer", "head", *alike, "fact")
        heads = part.select(none.columns).unique(maintain_order=True)
        shape = (heads.height, -1)
        centred = part.select(both - both.mean().over("layer", "head", *alike))
        forward, reverse = (column.to_numpy().reshape(shape) for column in centred)
        length = np.linalg.norm(forward, axis=1) * np.linalg.norm(reverse, axis=1)
        forward = forward / np.where(length > 0, length, 1)[:, None]
        group = part.select(pl.struct(alike).rank("dense")).to_numpy().reshape(shape)[0]
        rng = np.random.default_rng(0)
        orders = [np.lexsort((rng.random(len(group)), group)) for _ in range(PERMUTATIONS)]
        null = [(forward * reverse[:, order]).sum(1) for order in orders]
        found = ((forward * reverse).sum(1), *np.quantile(null, [0.025, 0.975], axis=0))
        frames.append(heads.with_columns(map(pl.Series, columns, found)))
    return pl.concat(frames)
