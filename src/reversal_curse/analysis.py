"""What figures and claims both read off aggregated tables."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from reversal_curse.settings import AXES

POINT = [*AXES, "settings"]
"""Columns that tell grid points apart."""


def final_values(metrics: pl.DataFrame) -> pl.DataFrame:
    """The rows of every grid point's last evaluation."""
    return metrics.filter(pl.col("epoch") == pl.col("epoch").max().over(POINT))


def final_by_seed(metrics: pl.DataFrame) -> pl.DataFrame:
    """One row per grid point and seed: `train_` and `unseen_` columns of the last evaluation.

    The measured columns are `nll_token`, `nll_word` and `accuracy`; both chance levels are kept.
    """
    measured = ["nll_token", "nll_word", "accuracy"]
    of_split = [
        pl.col(name).filter(pl.col("split") == split).first().alias(f"{split}_{name}")
        for split in ("train", "unseen")
        for name in measured
    ]
    chance = [pl.col("chance_class").first(), pl.col("chance_vocab").first()]
    return final_values(metrics).group_by(*POINT, "seed").agg(*of_split, *chance)


PAIR = ["embed_dim", "seed", "pair"]


def loss_ratios(separation: pl.DataFrame) -> pl.DataFrame:
    """Every loss over its value before training, as `forward` and `reverse`, from epoch 0 on."""
    start = separation.filter(pl.col("epoch") == 0).select(
        *PAIR, forward_0="nll_forward", reverse_0="nll_reverse"
    )
    return separation.join(start, on=PAIR).select(
        *PAIR,
        "epoch",
        forward=pl.col("nll_forward") / pl.col("forward_0"),
        reverse=pl.col("nll_reverse") / pl.col("reverse_0"),
    )


def exponents(separation: pl.DataFrame) -> pl.DataFrame:
    """The smallest eps >= 0 with which the separation bound holds for all t and pairs of a seed.

    `L_rev(t) / L_rev(0) >= (L(t) / L(0))^eps`: Zhu et al. 2024, section 3. Returns the
    columns `embed_dim`, `seed`, `exponent`.
    """
    needed = pl.col("reverse").log() / pl.col("forward").log()
    fallen = pl.col("forward") < 1  # elsewhere the bound is one from above on eps, not from below
    return (
        loss_ratios(separation)
        .filter(pl.col("epoch") > 0, fallen, pl.col("reverse").is_finite())
        .group_by("embed_dim", "seed")
        .agg(needed.max().clip(0).alias("exponent"))
        .sort("embed_dim", "seed")
    )


def first_passage(separation: pl.DataFrame, level: float) -> pl.DataFrame:
    """The reverse loss (nats) of every pair when its forward loss first falls below `level`.

    Returns the columns `embed_dim`, `seed`, `pair`, `nll_reverse`; pairs that never get
    there are left out.
    """
    below = separation.filter(pl.col("nll_forward") < level).sort("epoch")
    return below.group_by(PAIR).agg(pl.col("nll_reverse").first())


def logit_contrast(logits: pl.DataFrame) -> pl.DataFrame:
    """Mean logit of the right answers minus that of the other candidates, in nats, per seed.

    Returns the columns `seed`, `contrast`; seeds with no other candidate are left out.
    """
    right = pl.col("query") == pl.col("candidate")
    gap = pl.col("logit").filter(right).mean() - pl.col("logit").filter(~right).mean()
    return logits.group_by("seed").agg(gap.alias("contrast")).drop_nulls().sort("seed")


def cosine_matrix(embeddings: pl.DataFrame) -> np.ndarray:
    """Cosine similarities of one seed's tokens, in the order of the rows: (tokens, tokens)."""
    vectors = np.stack(embeddings["embedding"].to_list()).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def mean_absolute_cosine(embeddings: pl.DataFrame) -> float:
    """Mean absolute cosine similarity of one seed's different tokens."""
    cosines = cosine_matrix(embeddings)
    return float(np.abs(cosines[~np.eye(len(cosines), dtype=bool)]).mean())


def random_absolute_cosine(d: int) -> float:
    """E |cos| of two independent directions: Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2))."""
    return math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / math.sqrt(math.pi)


def rotary_correlation(displacement: int, features: int) -> float:
    """rho(D) = (2 / d_h) sum_j cos(2 D theta_j), theta_j = 10000^(-2j / d_h).

    The correlation of q^T R(-D) k and q^T R(D) k for isotropic queries and keys of d_h
    features: what rotary positions give to the scores of the two layouts of a fact that
    share their entities (Jeon et al. 2026; derived).
    """
    theta = 10000.0 ** (-np.arange(0, features, 2) / features)
    return float(np.cos(2 * displacement * theta).mean())
