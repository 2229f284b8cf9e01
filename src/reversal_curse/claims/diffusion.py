"""Claims on masked diffusion: Jeon et al. 2026."""

from __future__ import annotations

import polars as pl

from reversal_curse.claims.claim import Claim
from reversal_curse.claims.effects import (
    ABOVE_CLASS_CHANCE,
    BELOW_CLASS_CHANCE,
    difference,
    worst_over_points,
)
from reversal_curse.claims.reversal import NO_BETTER

DIFFUSION = pl.col("family") == "masked_diffusion"
AUTOREGRESSIVE = pl.col("family") == "gpt"
RELATIVE = pl.col("pos_encoding").is_in(["rotary", "alibi"])
ABSOLUTE = pl.col("pos_encoding") == "absolute"
GUESS = "0: the level of a guess among the right class"
BELOW = "loss of a guess within the class minus that of the reverse query (nats), worst point"
ABOVE = "loss of the reverse query minus that of a guess within the class (nats), worst point"


def _arm(name: str) -> pl.Expr:
    return pl.col("masking") == name


CLAIMS = (
    Claim(
        id="diffusion_reverses",
        paper="P2, main claim",
        statement="Trained on facts in one order only, masked diffusion with relative positions "
        "answers reverse queries.",
        figure="diffusion_vs_autoregressive",
        measures=BELOW,
        effect=worst_over_points(BELOW_CLASS_CHANCE, DIFFUSION & RELATIVE),
        threshold=0.0,
        because=GUESS,
    ),
    Claim(
        id="autoregression_does_not",
        paper="P2, main claim",
        statement="An autoregressive model of the same size does not, whatever its positions.",
        figure="diffusion_vs_autoregressive",
        measures=ABOVE,
        effect=worst_over_points(ABOVE_CLASS_CHANCE, AUTOREGRESSIVE),
        threshold=0.0,
        because=NO_BETTER,
    ),
    Claim(
        id="diffusion_needs_relative_positions",
        paper="P2, ablation",
        statement="With absolute positions masked diffusion loses most of it.",
        figure="diffusion_vs_autoregressive",
        measures="reverse loss with absolute minus with relative positions (nats)",
        effect=difference(
            pl.col("unseen_nll_token"), higher=DIFFUSION & ABSOLUTE, lower=DIFFUSION & RELATIVE
        ),
        threshold=1.0,
        because="1 nat: a factor e in probability, well beyond the spread over seeds",
    ),
    Claim(
        id="diffusion_reverse_below_forward",
        paper="P2, main claim",
        statement="The probability of the reverse answer stays below that of the forward answer.",
        figure="diffusion_vs_autoregressive",
        measures="reverse minus forward loss of masked diffusion, worst point (nats)",
        effect=worst_over_points(
            pl.col("unseen_nll_token") - pl.col("train_nll_token"), DIFFUSION & RELATIVE
        ),
        threshold=0.0,
        because="0: equal probabilities",
        note="At the default scale (20 facts, 1,000 epochs) both losses end close to 0, and the "
        "interval of their difference spans 0.",
    ),
    Claim(
        id="masking_subject_transfers",
        paper="P2, mechanism",
        statement="Under rotary positions, training on `[M] is B` alone transfers to the layout "
        "`B is [M]`.",
        figure="diffusion_masking",
        measures=BELOW,
        effect=worst_over_points(
            BELOW_CLASS_CHANCE, _arm("subject") & (pl.col("pos_encoding") == "rotary")
        ),
        threshold=0.0,
        because=GUESS,
    ),
    Claim(
        id="masking_object_does_not",
        paper="P2, ablation",
        statement="Where only the last entity is ever masked, reverse queries are not answered.",
        figure="diffusion_masking",
        measures=ABOVE,
        effect=worst_over_points(ABOVE_CLASS_CHANCE, _arm("object")),
        threshold=0.0,
        because=NO_BETTER,
    ),
    Claim(
        id="masking_any_order",
        paper="P2, ablation",
        statement="Masking in any order with rotary positions answers reverse queries.",
        figure="diffusion_masking",
        measures=BELOW,
        effect=worst_over_points(
            BELOW_CLASS_CHANCE, _arm("any_order") & (pl.col("pos_encoding") == "rotary")
        ),
        threshold=0.0,
        because=GUESS,
    ),
)
