"""Claims on masked diffusion: Jeon et al. 2026."""

from functools import partial

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
BOTH = {"task": ("facts",), "family": ("gpt", "masked_diffusion")}
compared = partial(Claim, where=BOTH, varies=("family", "pos_encoding"))
_main_claim = partial(compared, paper="P2, main claim")
_ablation = partial(compared, paper="P2, ablation")
EXPOSED = pl.col("exposure")
_control = partial(
    Claim,
    paper="P2, main claim; the control is ours",
    where=BOTH,
    varies=("family", "exposure"),
    may_vary=("pos_encoding", "distance"),
)
_arms = partial(Claim, where=FACTS, varies=("masking",), may_vary=("pos_encoding", "distance"))
_mechanism = partial(_arms, paper="P2, mechanism; the arm is ours")
MIRROR = (
    "With ALiBi, whose bias is symmetric in an encoder, or without positions, a model cannot tell "
    "the two layouts of a fact with one relation token apart: there the claim holds by "
    "construction. Rotary positions are the test."
)


_answered = partial(effects.answered, "on the reverse queries")


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
    "diffusion_reverses": _main_claim(
        statement="Trained on facts in one order only, masked diffusion with relative positions "
        "gives the answers to reverse queries more probability than a guess.",
        **_reverses(DIFFUSION & RELATIVE),
        remark=MIRROR,
    ),
    "diffusion_reverses_said": _main_claim(
        statement="Trained on facts in one order only, masked diffusion with relative positions "
        "answers reverse queries.",
        **_answered(DIFFUSION & RELATIVE),
        remark=MIRROR,
    ),
    "diffusion_reverses_known": _main_claim(
        statement="Trained on facts in one order only, masked diffusion with relative positions "
        "knows which answer to a reverse query is right.",
        **effects.known(DIFFUSION & RELATIVE),
        remark=MIRROR,
    ),
    "diffusion_reverse_below_forward": _main_claim(
        statement="In masked diffusion with relative positions the answers to reverse queries stay "
        "less probable than those to forward queries.",
        measures="reverse loss minus forward loss (nats)",
        effect=effects.at_points(
            pl.col("unseen_nll_token") - pl.col("train_nll_token"), DIFFUSION & RELATIVE
        ),
        threshold=effects.EQUAL,
        remark="With ALiBi both are one question. Forward and reverse queries ask for different "
        "entities here; `reverse_below_forward` asks for the same one.",
    ),
    "autoregression_does_not": _main_claim(
        statement="Trained on facts in one order only, an autoregressive model of the same size "
        "does not answer reverse queries, whatever its positions.",
        **effects.guessed(AUTOREGRESSIVE),
        check=ONE_QUESTION,
    ),
    "autoregression_unknown": _main_claim(
        statement="Trained on facts in one order only, an autoregressive model of the same size "
        "does not know which answer to a reverse query is right, whatever its positions.",
        **effects.unknown(AUTOREGRESSIVE),
        check=ONE_QUESTION,
    ),
    "exposed_autoregression_unsaid": _control(
        statement="Even if other facts make every entity a target in every place, an "
        "autoregressive model says the answers to reverse queries no better than by a guess.",
        **effects.guessed(AUTOREGRESSIVE & EXPOSED),
    ),
    "exposed_autoregression_unknown": _control(
        statement="Even if other facts make every entity a target in every place, an "
        "autoregressive model does not know which answer to a reverse query is right.",
        **effects.unknown(AUTOREGRESSIVE & EXPOSED),
    ),
    "exposed_diffusion_known": _control(
        statement="If other facts make every entity a target in every place, masked diffusion "
        "that learns them knows which answer to a reverse query is right, whatever its positions.",
        **effects.known(DIFFUSION & EXPOSED),
    ),
    "absolute_positions_hurt": _ablation(
        statement="With absolute positions, masked diffusion says the answers to reverse queries "
        "less than with relative ones.",
        measures="reverse loss with absolute positions minus that with relative ones (nats)",
        effect=effects.mean_difference(
            "metrics", pl.col("unseen_nll_token"), DIFFUSION & ABSOLUTE, DIFFUSION & RELATIVE
        ),
        threshold=Threshold(
            1.0, "1 nat: a factor e in probability, well beyond the spread over seeds"
        ),
    ),
    "absolute_positions_known": compared(
        paper="ours, against P2, ablation",
        statement="With absolute positions, too, masked diffusion knows which answer to a reverse "
        "query is right.",
        **effects.known(DIFFUSION & ABSOLUTE),
    ),
    "relative_positions_needed": _ablation(
        statement="Without relative positions, reverse queries are answered no better than by a "
        "guess in masked diffusion.",
        **effects.guessed(DIFFUSION & ~RELATIVE, 2),
        remark="Without positions both layouts of a fact are one question, so that model answers "
        "by construction; `absolute_positions_guess` is about the other.",
    ),
    "absolute_positions_guess": _ablation(
        statement="With absolute positions, reverse queries are answered no better than by a "
        "guess in masked diffusion.",
        **effects.guessed(DIFFUSION & ABSOLUTE),
    ),
    "any_order_needed": _arms(
        paper='P2 ("needs any-order masking"), taken literally by us',
        statement="Masked diffusion answers reverse queries only if tokens are masked in any "
        "order: masking either entity leaves them a guess.",
        **effects.guessed(_arm("either")),
    ),
    "masking_subject_transfers": _mechanism(
        statement="In masked diffusion with rotary positions, training on `[M] is B` alone makes "
        "the answers in the layout `B is [M]` more probable than a guess.",
        **_reverses(_arm("subject") & ROTARY),
    ),
    "masking_subject_said": _mechanism(
        statement="In masked diffusion with rotary positions, training on `[M] is B` alone "
        "answers the layout `B is [M]`, with one relation token or several.",
        **_answered(_arm("subject") & ROTARY),
    ),
    "masking_object_does_not": _mechanism(
        statement="Masked diffusion that masks only the last entity answers no reverse queries.",
        **effects.guessed(_arm("object")),
        check="A is never a target, so no model could answer otherwise",
    ),
    "masking_any_order_far": _arms(
        paper="P2, main claim; the distance is ours",
        statement="With rotary positions and tokens masked in any order, masked diffusion answers "
        "reverse queries even with several relation tokens between the entities.",
        **_answered(_arm("any_order") & ROTARY & ~NEAR, learned=True),
    ),
    "masking_any_order_far_known": _arms(
        paper="P2, main claim; the distance and the measure are ours",
        statement="With rotary positions and tokens masked in any order, masked diffusion knows "
        "which answer to a reverse query is right even with several relation tokens between the "
        "entities.",
        **effects.known(_arm("any_order") & ROTARY & ~NEAR),
    ),
}
