"""Summaries of the tables of runs, for figures and claims."""

import math

import numpy as np
import polars as pl

from reversal_curse.config.settings import NAMES
from reversal_curse.tables.schemas import MEASURED

LAST = pl.col("epoch") == pl.col("epoch").max().over("run")
"""Selects every grid point's last measurement."""
CONFIDENCE = 0.95
"""Of all intervals."""
SHOWN = {
    "train_accuracy": "trained: accuracy",
    "unseen_accuracy": "said: accuracy",
    "unseen_accuracy_choice": "known: accuracy",
    "unseen_rank_choice": "known: rank",
    "train_nll_word": "trained: loss",
    "unseen_nll_word": "unseen: loss",
}
"""What people see first of a grid point: columns of `final_by_seed`, and their names."""
LEARNED_ACCURACY = 0.95
LEARNED = (pl.col("train_accuracy") >= LEARNED_ACCURACY) & (
    pl.col("train_nll_token") <= math.log(2)
)
"""On `final_by_seed`, whether the training sentences were learned: enough answers are right, and
the right one is more probable than all others together. Only then does a failure to generalise
mean anything."""


def final_by_seed(metrics: pl.DataFrame) -> pl.DataFrame:
    """Return one row per grid point and seed, with the last evaluation of every split.

    Measured columns are prefixed by `train_`, `unseen_`, ...; chance levels of the vocabulary and
    of the class, the settings and the epoch are kept.
    """
    measured = pl.col([column.name for column in MEASURED if column.name in metrics.columns])
    splits = (
        measured.filter(pl.col("split") == split).first().name.prefix(f"{split}_")
        for split in ("train", "unseen", "forward", "wrong")
    )
    kept = pl.col(*_of_point(metrics), "epoch", "chance_class", "chance_vocab").first()
    keys = ["run", "seed"]
    return metrics.filter(LAST).group_by(keys, maintain_order=True).agg(kept, *splits)


def _of_point(table: pl.DataFrame) -> list[str]:
    """List the columns that describe a grid point, besides `run`."""
    return [name for name in ("label", *NAMES) if name in table.columns]


def with_settings(result: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Add the table's settings of each run to a result that has the column `run`."""
    points = table.select("run", *_of_point(table)).unique("run", maintain_order=True)
    return result.join(points, on="run", how="left", maintain_order="left")


PAIR = ["embed_dim", "seed", "pair"]


def loss_ratios(separation: pl.DataFrame) -> pl.DataFrame:
    """Divide every loss by its value before training: `forward` and `reverse`, from epoch 0 on."""
    losses = pl.col("nll_forward", "nll_reverse")
    ratios = losses / losses.filter(pl.col("epoch") == 0).first().over(PAIR)
    named = ratios.name.map(lambda name: name.removeprefix("nll_"))
    return separation.select(*PAIR, "epoch", named)


def exponents(separation: pl.DataFrame) -> pl.DataFrame:
    """Find the smallest eps >= 0 for which the separation bound holds for all pairs of a seed.

    The bound is `L_rev(t) / L_rev(0) >= (L(t) / L(0))^eps` for all t, where L_rev is the loss of
    a pair's held-out direction and L that of its trained one; eps shrinks as the embedding
    dimension grows (Zhu et al. 2024, section 3). Returns `embed_dim`, `seed`, `exponent`.
    """
    needed = pl.col("reverse").log() / pl.col("forward").log()
    fallen = pl.col("forward") < 1  # otherwise the bound limits eps from above, not from below
    return (
        loss_ratios(separation)
        .filter(pl.col("epoch") > 0, fallen, pl.col("reverse").is_finite())
        .group_by("embed_dim", "seed")
        .agg(needed.max().clip(0).alias("exponent"))
        .sort("embed_dim", "seed")
    )


def exponent_slopes(separation: pl.DataFrame) -> pl.DataFrame:
    """Fit the power of d with which the exponent falls: `seed`, `slope` of ln eps on ln d.

    By least squares, over the positive exponents of a seed that has them at two or more d.
    """
    positive = exponents(separation).filter(pl.col("exponent") > 0)
    logs = positive.with_columns(pl.col("embed_dim", "exponent").log())
    return slopes(logs, "embed_dim", "exponent", 2)


def slopes(rows: pl.DataFrame, x: str, y: str, least: int) -> pl.DataFrame:
    """Fit `y` against `x` by least squares, per seed with `least` values of `x`: `slope`."""
    known = rows.drop_nulls([x, y]).filter(pl.col(x).n_unique().over("seed") >= least)
    return known.group_by("seed").agg(slope=pl.cov(x, y) / pl.col(x).var()).sort("seed")


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """Return Student's t interval (95 %) of the mean; one value says nothing about it."""
    if len(values) < 2:
        return -math.inf, math.inf
    half = t_half_width(values.std(ddof=1), len(values))
    return float(values.mean() - half), float(values.mean() + half)


def t_half_width(deviation: float, n: int) -> float:
    """Return half the width of that interval, for n values of this standard deviation."""
    # Imported here: it takes half a second, and building the DAG does not need it.
    from scipy.special import stdtrit

    return stdtrit(n - 1, (1 + CONFIDENCE) / 2) * deviation / math.sqrt(n)


def first_passage(separation: pl.DataFrame, level: float) -> pl.DataFrame:
    """Find each pair's reverse loss (nats) when its forward loss first falls below `level`.

    Returns `embed_dim`, `seed`, `pair`, `nll_reverse`, without the pairs that never get there.
    """
    below = separation.filter(pl.col("nll_forward") < level).sort("epoch")
    return below.group_by(PAIR).agg(pl.col("nll_reverse").first())


def logit_contrast(logits: pl.DataFrame) -> pl.DataFrame:
    """Subtract the mean logit of the other candidates from that of the right answers, per seed.

    Returns `seed`, `contrast` (nats), without the seeds that have no other candidate.
    """
    right = pl.col("query") == pl.col("candidate")
    gap = pl.col("logit").filter(right).mean() - pl.col("logit").filter(~right).mean()
    return logits.group_by("seed").agg(gap.alias("contrast")).drop_nulls().sort("seed")


def cosine_matrix(embeddings: pl.DataFrame) -> np.ndarray:
    """Return the cosine similarities of one seed's tokens, in row order: (tokens, tokens)."""
    vectors = np.stack(embeddings["embedding"].to_list()).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors @ vectors.T


def mean_absolute_cosine(embeddings: pl.DataFrame) -> float:
    """Average the absolute cosine similarity over pairs of different tokens of one seed."""
    cosines = cosine_matrix(embeddings)
    return float(np.abs(cosines[~np.eye(len(cosines), dtype=bool)]).mean())


def random_absolute_cosine(d: int) -> float:
    """Return E |cos| of two random directions: Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2))."""
    return math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / math.sqrt(math.pi)


def rotary_correlation(displacement: int, head_dim: int, rotated: int | None = None) -> float:
    """Return rho(D) = (2 / d_h) sum_j cos(2 D theta_j), theta_j = 10000^(-2j / d_h).

    This is the correlation of q^T R(-D) k and q^T R(D) k for isotropic queries and keys of d_h
    features: how rotary positions correlate the scores of the two layouts of a fact (Jeon et al.
    2026; derived). If only `rotated` of the features are rotated, each of the others adds 1.
    """
    rotated = head_dim if rotated is None else rotated
    theta = 10000.0 ** (-np.arange(0, rotated, 2) / rotated)
    turned = 2 * float(np.cos(2 * displacement * theta).sum())
    return (turned + head_dim - rotated) / head_dim


def one_layer_bounds(sentence_nll: pl.DataFrame) -> pl.DataFrame:
    """Measure what the theory bounds in the one-layer transformer: Zhu et al. 2024, section 4.

    Over the facts with a held-out sentence, per grid point (with its settings), seed, epoch (from 1
    on), direction and split: `missing`, the largest 1 - p; `ratio`, the largest M p; `progress`,
    M eta_Y t / N; and `exponent`, the largest c for which `1 - p <= (M - 1) (M eta_Y t / N)^-c`.
    """
    nll, tokens = pl.col("nll"), pl.col("tokens").first()
    keys = ["run", "seed", "epoch", "direction", "split"]
    bounds = (
        sentence_nll.filter(pl.col("pair_split") == "validation", pl.col("epoch") > 0)
        .group_by(keys)
        .agg(
            tokens,
            missing=1 - (-nll.max()).exp(),
            ratio=tokens * (-nll.min()).exp(),
            progress=tokens * pl.col("learning_rate").first() * pl.col("epoch").first(),
        )
        .with_columns(
            # The bound says nothing until M eta_Y t / N exceeds 1.
            exponent=pl.when(pl.col("progress") > 1).then(
                ((pl.col("tokens") - 1) / pl.col("missing")).log() / pl.col("progress").log()
            )
        )
        .sort(keys)
    )
    return with_settings(bounds, sentence_nll)


def partner_contrasts(weights: pl.DataFrame) -> pl.DataFrame:
    """Compute each entity's weight to its partner minus its mean weight to the others, in nats.

    Returns `run`, `seed`, `pair_split`, `source`, `source_role`, `target_role` and `contrast`,
    without the entities that have no others in the target's role.
    """
    partner = pl.col("source") == pl.col("target")
    contrast = pl.col("weight").filter(partner).first() - pl.col("weight").filter(~partner).mean()
    keys = ["run", "seed", "pair_split", "source", "source_role", "target_role"]
    between = weights.filter(pl.col("source_role") != pl.col("target_role"))
    return between.group_by(keys).agg(contrast.alias("contrast")).drop_nulls().sort(keys)


def asymmetry(weights: pl.DataFrame) -> pl.DataFrame:
    """Measure how one-sided the weights of pairs (A, B) are, per grid point, seed and `pair_split`.

    `|c_ab - c_ba| / (|c_ab| + |c_ba|)` with the contrasts of both directions of a pair, mean
    over pairs: 0 for symmetric weights, 1 if one direction has everything.
    """
    contrasts = partner_contrasts(weights)
    keys = ["run", "seed", "pair_split"]
    there = contrasts.filter(source_role="A", target_role="B")
    back = contrasts.filter(source_role="B", target_role="A")
    both = there.join(back, on=[*keys, "source"], suffix="_back")
    index = _one_sided(pl.col("contrast"), pl.col("contrast_back"))
    return both.group_by(keys).agg(index.mean().alias("asymmetry")).sort(keys)


def asymmetry_in_training(table: pl.DataFrame) -> pl.DataFrame:
    """Average the table `asymmetry` over pairs: the same index, and the contrasts.

    Returns the grid point, `seed`, `epoch`, `asymmetry`, `contrast_seen` and `contrast_unseen`.
    """
    keys, contrasts = ["run", "seed", "epoch"], ["contrast_seen", "contrast_unseen"]
    index = _one_sided(*map(pl.col, contrasts)).mean().alias("asymmetry")
    rows = table.drop_nulls(contrasts).group_by(keys)
    return with_settings(rows.agg(index, pl.col(contrasts).mean()).sort(keys), table)


def _one_sided(there: pl.Expr, back: pl.Expr) -> pl.Expr:
    return (there - back).abs() / (there.abs() + back.abs())


def score_correlations(attention: pl.DataFrame) -> pl.DataFrame:
    """Correlate forward and reverse scores over facts; average over layers and heads.

    Returns the grid point, `seed`, `epoch`, `displacement`, `rotated`, `correlation` (NaN for a
    seed that diverged) and `head_dim`.
    """
    keys = ["run", "seed", "epoch", "displacement", "rotated"]
    by_head = attention.group_by(*keys, "layer", "head")
    correlations = by_head.agg(correlation=pl.corr("score_forward", "score_reverse"))
    found = correlations.group_by(keys).agg(pl.col("correlation").mean()).sort(keys)
    head_dim = pl.col("embed_dim") // pl.col("heads")
    return with_settings(found, attention).with_columns(head_dim=head_dim)


def last_attention(attention: pl.DataFrame) -> pl.DataFrame:
    """Average the last layer of `attention` after training over facts and heads, for each seed.

    Returns the grid point, `seed` and the columns of scores, weights and the value side.
    """
    last = attention.filter(LAST, pl.col("layer") == pl.col("layer").max().over("run"))
    keys = ["run", "seed"]
    means = last.group_by(keys).agg(pl.col("^(score|weight|value)_.*$").mean()).sort(keys)
    return with_settings(means, attention)
