"""What figures and claims both read off aggregated tables."""

import math

import numpy as np
import polars as pl

from reversal_curse.config.settings import NAMES

LAST = pl.col("epoch") == pl.col("epoch").max().over("run")
"""Rows of every grid point's last look."""
LEARNED_ACCURACY = 0.95
LEARNED = (pl.col("train_accuracy") >= LEARNED_ACCURACY) & (
    pl.col("train_nll_token") <= math.log(2)
)
"""Over `final_by_seed`: so many of the training sentences right, the right answer more probable
than all others together. Only then does a missing generalisation say something."""


def final_values(metrics: pl.DataFrame) -> pl.DataFrame:
    """The rows of every grid point's last evaluation."""
    return metrics.filter(LAST)


def final_by_seed(metrics: pl.DataFrame) -> pl.DataFrame:
    """One row per grid point and seed: `train_` and `unseen_` columns of the last evaluation.

    The measured columns are `nll_token`, `nll_word` and `accuracy`; both chance levels, the
    settings and the epoch are kept.
    """
    measured = ["nll_token", "nll_word", "accuracy"]
    of_split = [
        pl.col(name).filter(pl.col("split") == split).first().alias(f"{split}_{name}")
        for split in ("train", "unseen")
        for name in measured
    ]
    kept = pl.col(*_of_point(metrics), "epoch", "chance_class", "chance_vocab").first()
    keys = ["run", "seed"]
    return final_values(metrics).group_by(keys, maintain_order=True).agg(kept, *of_split)


def _of_point(table: pl.DataFrame) -> list[str]:
    """The columns of a table that say what a grid point is, beside `run`."""
    return [name for name in ("label", *NAMES) if name in table.columns]


def with_settings(result: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """A result that has the column `run`, with the settings that the table has for it."""
    points = table.select("run", *_of_point(table)).unique("run", maintain_order=True)
    return result.join(points, on="run", how="left", maintain_order="left")


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


def rotary_correlation(displacement: int, head_dim: int, rotated: int | None = None) -> float:
    """rho(D) = (2 / d_h) sum_j cos(2 D theta_j), theta_j = 10000^(-2j / d_h).

    The correlation of q^T R(-D) k and q^T R(D) k for isotropic queries and keys of d_h
    features: what rotary positions give to the scores of the two layouts of a fact that
    share their entities (Jeon et al. 2026; derived). Where only `rotated` of the features
    are rotated, the others add 1 each.
    """
    rotated = head_dim if rotated is None else rotated
    theta = 10000.0 ** (-np.arange(0, rotated, 2) / rotated)
    turned = 2 * float(np.cos(2 * displacement * theta).sum())
    return (turned + head_dim - rotated) / head_dim


def one_layer_bounds(sentence_nll: pl.DataFrame) -> pl.DataFrame:
    """What the bounds on the one-layer transformer are about: Zhu et al. 2024, section 4.

    Of the facts of which something is held out, per grid point (with its settings), seed, epoch
    (from 1 on), direction and split, the worst over the sentences: `missing`, the largest 1 - p;
    `ratio`, the largest M p; `progress`, M eta_Y t / N; and `exponent`, the largest c with
    which `1 - p <= (M - 1) (M eta_Y t / N)^-c` holds.
    """
    missing = 1 - (-pl.col("nll").max()).exp()
    progress = (pl.col("tokens") * pl.col("learning_rate")).first() * pl.col("epoch").first()
    keys = ["run", "seed", "epoch", "direction", "split"]
    bounds = (
        sentence_nll.filter(pl.col("pair_split") == "validation", pl.col("epoch") > 0)
        .group_by(keys)
        .agg(
            missing.alias("missing"),
            (pl.col("tokens").first() * (-pl.col("nll").min()).exp()).alias("ratio"),
            progress.alias("progress"),
            pl.col("tokens").first(),
        )
        .with_columns(
            # Up to M eta_Y t / N = 1 the bound says nothing.
            exponent=pl.when(pl.col("progress") > 1).then(
                ((pl.col("tokens") - 1) / pl.col("missing")).log() / pl.col("progress").log()
            )
        )
        .sort(keys)
    )
    return with_settings(bounds, sentence_nll)


def partner_contrasts(weights: pl.DataFrame) -> pl.DataFrame:
    """Per entity and role: the weight to its partner minus the mean weight to the others, in nats.

    Returns the grid point, `seed`, `pair_split`, `source`, `source_role`, `target_role` and
    `contrast`; entities without others in the target's role are left out.
    """
    partner = pl.col("source") == pl.col("target")
    contrast = pl.col("weight").filter(partner).first() - pl.col("weight").filter(~partner).mean()
    keys = ["run", "seed", "pair_split", "source", "source_role", "target_role"]
    between = weights.filter(pl.col("source_role") != pl.col("target_role"))
    return between.group_by(keys).agg(contrast.alias("contrast")).drop_nulls().sort(keys)


def asymmetry(weights: pl.DataFrame) -> pl.DataFrame:
    """How one-sided the weights of the pairs (A, B) are: per grid point, seed and `pair_split`.

    `|c_ab - c_ba| / (|c_ab| + |c_ba|)` with the contrasts of both directions of a pair, mean
    over pairs: 0 for symmetric weights, 1 where one direction has all.
    """
    contrasts = partner_contrasts(weights)
    keys = ["run", "seed", "pair_split"]
    of = {
        name: contrasts.filter(pl.col("source_role") == a, pl.col("target_role") == b)
        for name, a, b in (("ab", "A", "B"), ("ba", "B", "A"))
    }
    both = of["ab"].join(of["ba"], on=[*keys, "source"], suffix="_back")
    ab, ba = pl.col("contrast"), pl.col("contrast_back")
    index = (ab - ba).abs() / (ab.abs() + ba.abs())
    return both.group_by(keys).agg(index.mean().alias("asymmetry")).sort(keys)


def score_correlations(attention: pl.DataFrame) -> pl.DataFrame:
    """Correlation over facts of forward and reverse scores, mean over layers and heads.

    Returns the grid point, `seed`, `epoch`, `displacement`, `rotated`, `correlation` (NaN for a
    seed that diverged) and `head_dim`.
    """
    keys = ["run", "seed", "epoch", "displacement", "rotated"]
    correlation = pl.corr("score_forward", "score_reverse")
    found = (
        attention.group_by(*keys, "layer", "head")
        .agg(correlation.alias("correlation"))
        .group_by(keys)
        .agg(pl.col("correlation").mean())
        .sort(keys)
    )
    head_dim = pl.col("embed_dim") // pl.col("heads")
    return with_settings(found, attention).with_columns(head_dim=head_dim)
