"""Claims on masked diffusion: Jeon et al. 2026."""

import polars as pl

from reversal_curse.claims import effects
from reversal_curse.claims.claim import Claim, Fields, Threshold

DIFFUSION = pl.col("family") == "masked_diffusion"
AUTOREGRESSIVE = pl.col("family") == "gpt"
RELATIVE = pl.col("pos_encoding").is_in(["rotary", "alibi"])
ABSOLUTE = pl.col("pos_encoding") == "absolute"
ROTARY = pl.col("pos_encoding") == "rotary"
NEAR = pl.col("distance") == 1
FACTS = {"task": ("facts",), "family": ("masked_diffusion",)}
COMPARED: Fields = {
    "where": {"task": ("facts",), "family": ("gpt", "masked_diffusion")},
    "varies": ("family", "pos_encoding"),
}
MAIN_CLAIM: Fields = {**COMPARED, "paper": "P2, main claim"}
ABLATION: Fields = {**COMPARED, "paper": "P2, ablation"}
ARMS: Fields = {"where": FACTS, "varies": ("masking",), "may_vary": ("pos_encoding", "distance")}
MECHANISM: Fields = {**ARMS, "paper": "P2, mechanism; the arm is ours"}
MIRROR = (
    "With ALiBi, whose bias is symmetric in an encoder, or without positions, a model cannot tell "
    "the two layouts of a fact with one relation token apart: there the claim holds by "
    "construction. Rotary positions are the test."
)


def _answered(where: pl.Expr) -> Fields:
    """Return the fields of a claim that reverse queries are answered at all points of `where`."""
    return {
        "measures": "accuracy on the reverse queries (fraction), worst point",
        "effect": effects.worst_over_points(pl.col("unseen_accuracy"), where),
        "threshold": Threshold(0.9, "90 % of the answers right, as for reversal in context"),
    }


def _arm(*names: str) -> pl.Expr:
    return DIFFUSION & pl.col("masking").is_in(names)


CLAIMS = {
    "diffusion_reverses": Claim(
        statement="Trained on facts in one order only, masked diffusion with relative positions "
        "answers reverse queries.",
        **MAIN_CLAIM,
        **_answered(DIFFUSION & RELATIVE),
        remark=MIRROR,
    ),
    "autoregression_does_not": Claim(
        statement="Trained on facts in one order only, an autoregressive model of the same size "
        "does not answer reverse queries, whatever its positions.",
        **MAIN_CLAIM,
        **effects.guessed(AUTOREGRESSIVE),
    ),
    "absolute_positions_hurt": Claim(
        statement="With absolute positions, masked diffusion answers reverse queries less well.",
        **ABLATION,
        measures="reverse loss with absolute positions minus that with relative ones (nats)",
        effect=effects.mean_difference(
            "metrics", pl.col("unseen_nll_token"), DIFFUSION & ABSOLUTE, DIFFUSION & RELATIVE
        ),
        threshold=Threshold(
            1.0, "1 nat: a factor e in probability, well beyond the spread over seeds"
        ),
    ),
    "relative_positions_needed": Claim(
        statement="Without relative positions, reverse queries stay a guess in masked diffusion.",
        **ABLATION,
        **effects.guessed(DIFFUSION & ~RELATIVE, 2),
    ),
    "any_order_needed": Claim(
        paper='P2 ("needs any-order masking"), taken literally by us',
        statement="Masked diffusion answers reverse queries only if tokens are masked in any "
        "order: masking the first entity alone, or either entity, leaves them a guess.",
        **ARMS,
        **effects.guessed(_arm("subject", "either"), 2, learned=False),
    ),
    "masking_subject_transfers": Claim(
        statement="In masked diffusion with rotary positions, training on `[M] is B` alone "
        "transfers to the layout `B is [M]`, with one relation token or several.",
        **MECHANISM,
        **_answered(_arm("subject") & ROTARY),
    ),
    "masking_object_does_not": Claim(
        statement="Masked diffusion that masks only the last entity answers no reverse queries.",
        **MECHANISM,
        **effects.guessed(_arm("object")),
    ),
    "masking_any_order": Claim(
        paper="P2, main claim",
        statement="With rotary positions and tokens masked in any order, masked diffusion answers "
        "reverse queries.",
        **ARMS,
        **_answered(_arm("any_order") & ROTARY & NEAR),
        remark="If both sweeps have the grid point with rotary positions, this and "
        "diffusion_reverses rest on the same measurement.",
    ),
    "masking_any_order_far": Claim(
        paper="P2, main claim; the distance is ours",
        statement="With rotary positions and tokens masked in any order, masked diffusion answers "
        "reverse queries even with several relation tokens between the entities.",
        **ARMS,
        **_answered(_arm("any_order") & ROTARY & ~NEAR),
    ),
}
