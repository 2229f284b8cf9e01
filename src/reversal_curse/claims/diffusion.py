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
EXPOSED = pl.col("exposure")
CONTROL: Fields = {
    "paper": "P2, main claim; the control is ours",
    "where": COMPARED["where"],
    "varies": ("family", "exposure"),
    "may_vary": ("pos_encoding", "distance"),
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


def _answered(where: pl.Expr, learned: bool = False) -> Fields:
    """Return the fields of a claim that reverse queries are answered at all points of `where`."""
    return {
        "measures": "accuracy on the reverse queries (fraction)",
        "effect": effects.at_points(pl.col("unseen_accuracy"), where, learned),
        "threshold": effects.ANSWERED,
    }


def _reverses(where: pl.Expr) -> Fields:
    """Return the fields of a claim that reverse answers are more probable than a guess."""
    return {
        "measures": "loss of a guess within the class minus that of the reverse query (nats)",
        "effect": effects.at_points(-effects.ABOVE_CLASS_CHANCE, where),
        "threshold": effects.NO_BETTER,
    }


def _arm(*names: str) -> pl.Expr:
    return DIFFUSION & pl.col("masking").is_in(names)


ONE_QUESTION = (
    "A is never a target and B never an input, so no model of this kind could answer otherwise"
)
CLAIMS = {
    "diffusion_reverses": Claim(
        statement="Trained on facts in one order only, masked diffusion with relative positions "
        "gives the answers to reverse queries more probability than a guess.",
        **MAIN_CLAIM,
        **_reverses(DIFFUSION & RELATIVE),
        remark=MIRROR,
    ),
    "diffusion_reverses_said": Claim(
        statement="Trained on facts in one order only, masked diffusion with relative positions "
        "answers reverse queries.",
        **MAIN_CLAIM,
        **_answered(DIFFUSION & RELATIVE),
        remark=MIRROR,
    ),
    "diffusion_reverses_known": Claim(
        statement="Trained on facts in one order only, masked diffusion with relative positions "
        "knows which answer to a reverse query is right.",
        **MAIN_CLAIM,
        **effects.known(DIFFUSION & RELATIVE),
        remark=MIRROR,
    ),
    "diffusion_reverse_below_forward": Claim(
        statement="In masked diffusion with relative positions the answers to reverse queries stay "
        "less probable than those to forward queries.",
        **MAIN_CLAIM,
        measures="reverse loss minus forward loss (nats)",
        effect=effects.at_points(
            pl.col("unseen_nll_token") - pl.col("train_nll_token"), DIFFUSION & RELATIVE
        ),
        threshold=effects.EQUAL,
        remark="With ALiBi both are one question. Forward and reverse queries ask for different "
        "entities here; `reverse_below_forward` asks for the same one.",
    ),
    "autoregression_does_not": Claim(
        statement="Trained on facts in one order only, an autoregressive model of the same size "
        "does not answer reverse queries, whatever its positions.",
        **MAIN_CLAIM,
        **effects.guessed(AUTOREGRESSIVE),
        check=ONE_QUESTION,
    ),
    "autoregression_unknown": Claim(
        statement="Trained on facts in one order only, an autoregressive model of the same size "
        "does not know which answer to a reverse query is right, whatever its positions.",
        **MAIN_CLAIM,
        **effects.unknown(AUTOREGRESSIVE),
        check=ONE_QUESTION,
    ),
    "exposed_autoregression_unsaid": Claim(
        statement="Even if other facts make every entity a target in every place, an "
        "autoregressive model says the answers to reverse queries no better than by a guess.",
        **CONTROL,
        **effects.guessed(AUTOREGRESSIVE & EXPOSED),
    ),
    "exposed_autoregression_unknown": Claim(
        statement="Even if other facts make every entity a target in every place, an "
        "autoregressive model does not know which answer to a reverse query is right.",
        **CONTROL,
        **effects.unknown(AUTOREGRESSIVE & EXPOSED),
    ),
    "exposed_diffusion_known": Claim(
        statement="If other facts make every entity a target in every place, masked diffusion "
        "that learns them knows which answer to a reverse query is right, whatever its positions.",
        **CONTROL,
        **effects.known(DIFFUSION & EXPOSED),
    ),
    "absolute_positions_hurt": Claim(
        statement="With absolute positions, masked diffusion says the answers to reverse queries "
        "less than with relative ones.",
        **ABLATION,
        measures="reverse loss with absolute positions minus that with relative ones (nats)",
        effect=effects.mean_difference(
            "metrics", pl.col("unseen_nll_token"), DIFFUSION & ABSOLUTE, DIFFUSION & RELATIVE
        ),
        threshold=Threshold(
            1.0, "1 nat: a factor e in probability, well beyond the spread over seeds"
        ),
    ),
    "absolute_positions_known": Claim(
        paper="ours, against P2, ablation",
        statement="With absolute positions, too, masked diffusion knows which answer to a reverse "
        "query is right.",
        **COMPARED,
        **effects.known(DIFFUSION & ABSOLUTE),
    ),
    "relative_positions_needed": Claim(
        statement="Without relative positions, reverse queries are answered no better than by a "
        "guess in masked diffusion.",
        **ABLATION,
        **effects.guessed(DIFFUSION & ~RELATIVE, 2),
        remark="Without positions both layouts of a fact are one question, so that model answers "
        "by construction; `absolute_positions_guess` is about the other.",
    ),
    "absolute_positions_guess": Claim(
        statement="With absolute positions, reverse queries are answered no better than by a "
        "guess in masked diffusion.",
        **ABLATION,
        **effects.guessed(DIFFUSION & ABSOLUTE),
    ),
    "any_order_needed": Claim(
        paper='P2 ("needs any-order masking"), taken literally by us',
        statement="Masked diffusion answers reverse queries only if tokens are masked in any "
        "order: masking either entity leaves them a guess.",
        **ARMS,
        **effects.guessed(_arm("either")),
    ),
    "masking_subject_transfers": Claim(
        statement="In masked diffusion with rotary positions, training on `[M] is B` alone makes "
        "the answers in the layout `B is [M]` more probable than a guess.",
        **MECHANISM,
        **_reverses(_arm("subject") & ROTARY),
    ),
    "masking_subject_said": Claim(
        statement="In masked diffusion with rotary positions, training on `[M] is B` alone "
        "answers the layout `B is [M]`, with one relation token or several.",
        **MECHANISM,
        **_answered(_arm("subject") & ROTARY),
    ),
    "masking_object_does_not": Claim(
        statement="Masked diffusion that masks only the last entity answers no reverse queries.",
        **MECHANISM,
        **effects.guessed(_arm("object")),
        check="A is never a target, so no model could answer otherwise",
    ),
    "masking_any_order_far": Claim(
        paper="P2, main claim; the distance is ours",
        statement="With rotary positions and tokens masked in any order, masked diffusion answers "
        "reverse queries even with several relation tokens between the entities.",
        **ARMS,
        **_answered(_arm("any_order") & ROTARY & ~NEAR, learned=True),
    ),
    "masking_any_order_far_known": Claim(
        paper="P2, main claim; the distance and the measure are ours",
        statement="With rotary positions and tokens masked in any order, masked diffusion knows "
        "which answer to a reverse query is right even with several relation tokens between the "
        "entities.",
        **ARMS,
        **effects.known(_arm("any_order") & ROTARY & ~NEAR),
    ),
}
