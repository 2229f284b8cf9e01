"""Claims on masked diffusion: Jeon et al. 2026."""

from typing import Any

import polars as pl

from reversal_curse.claims.claim import Claim
from reversal_curse.claims.effects import (
    ABOVE_CLASS_CHANCE,
    NO_BETTER,
    REVERSE_ACCURACY,
    difference,
    worst_over_points,
)

DIFFUSION = pl.col("family") == "masked_diffusion"
AUTOREGRESSIVE = pl.col("family") == "gpt"
RELATIVE = pl.col("pos_encoding").is_in(["rotary", "alibi"])
ABSOLUTE = pl.col("pos_encoding") == "absolute"
ROTARY = pl.col("pos_encoding") == "rotary"
NEAR = pl.col("distance") == 1
FACTS = {"task": ("facts",), "family": ("masked_diffusion",)}
COMPARED: dict[str, Any] = {
    "where": {"task": ("facts",), "family": ("gpt", "masked_diffusion")},
    "varies": ("family", "pos_encoding"),
}
ARMS: dict[str, Any] = {
    "where": FACTS,
    "varies": ("masking",),
    "may_vary": ("pos_encoding", "distance"),
}


def _answered(where: pl.Expr) -> dict[str, Any]:
    """Reverse queries are answered at all grid points that meet `where`."""
    return {
        "measures": "accuracy on the reverse queries (fraction), worst point",
        "effect": worst_over_points(REVERSE_ACCURACY, where),
        "threshold": 0.9,
        "because": "90 % of the answers right, as for reversal in context",
    }


def _guessed(where: pl.Expr, least_points: int = 1, learned: bool = False) -> dict[str, Any]:
    """Reverse queries are a guess at all grid points that meet `where`, and are `learned`."""
    return {
        "measures": "loss of the reverse query minus that of a guess within the class (nats), "
        "worst point",
        "effect": worst_over_points(ABOVE_CLASS_CHANCE, where, least_points, learned),
        "threshold": 0.0,
        "because": NO_BETTER,
    }


MIRROR = (
    "With ALiBi, whose bias is symmetric in an encoder, or without positions, and one relation "
    "token, the two layouts of a fact are one to the model: there this holds by construction. "
    "Rotary positions are the test."
)


def _arm(*names: str) -> pl.Expr:
    return DIFFUSION & pl.col("masking").is_in(names)


CLAIMS = (
    Claim(
        id="diffusion_reverses",
        paper="P2, main claim",
        statement="Trained on facts in one order only, masked diffusion with relative positions "
        "answers reverse queries.",
        **COMPARED,
        **_answered(DIFFUSION & RELATIVE),
        remark=MIRROR,
    ),
    Claim(
        id="autoregression_does_not",
        paper="P2, main claim",
        statement="Trained on facts in one order only, an autoregressive model of the same size "
        "does not answer reverse queries, whatever its positions.",
        **COMPARED,
        **_guessed(AUTOREGRESSIVE, learned=True),
    ),
    Claim(
        id="absolute_positions_hurt",
        paper="P2, ablation",
        statement="With absolute positions masked diffusion answers reverse queries worse.",
        **COMPARED,
        measures="reverse loss with absolute minus with relative positions (nats)",
        effect=difference(
            pl.col("unseen_nll_token"), higher=DIFFUSION & ABSOLUTE, lower=DIFFUSION & RELATIVE
        ),
        threshold=1.0,
        because="1 nat: a factor e in probability, well beyond the spread over seeds",
    ),
    Claim(
        id="relative_positions_needed",
        paper="P2, ablation",
        statement="In masked diffusion reverse queries need relative positions: without them they "
        "stay a guess.",
        **COMPARED,
        **_guessed(DIFFUSION & ~RELATIVE, 2, learned=True),
    ),
    Claim(
        id="any_order_needed",
        paper='P2 ("needs any-order masking"), read literally by us',
        statement="In masked diffusion reverse queries need masking in any order: masking the "
        "first entity alone, or either entity, leaves them a guess.",
        **ARMS,
        **_guessed(_arm("subject", "either"), 2),
    ),
    Claim(
        id="masking_subject_transfers",
        paper="P2, mechanism; the arm is ours",
        statement="In masked diffusion with rotary positions, training on `[M] is B` alone "
        "transfers to the layout `B is [M]`, with one relation token or several.",
        **ARMS,
        **_answered(_arm("subject") & ROTARY),
    ),
    Claim(
        id="masking_object_does_not",
        paper="P2, mechanism; the arm is ours",
        statement="In masked diffusion where only the last entity is ever masked, reverse queries "
        "are not answered.",
        **ARMS,
        **_guessed(_arm("object"), learned=True),
    ),
    Claim(
        id="masking_any_order",
        paper="P2, main claim",
        statement="In masked diffusion with rotary positions and tokens masked in any order, "
        "reverse queries are answered.",
        **ARMS,
        **_answered(_arm("any_order") & ROTARY & NEAR),
        remark="Where both sweeps hold the grid point with rotary positions, this and "
        "diffusion_reverses are one measurement.",
    ),
    Claim(
        id="masking_any_order_far",
        paper="P2, main claim; the distance is ours",
        statement="In masked diffusion with rotary positions and tokens masked in any order, "
        "reverse queries are answered also where several relation tokens stand between the "
        "entities.",
        **ARMS,
        **_answered(_arm("any_order") & ROTARY & ~NEAR),
    ),
)
