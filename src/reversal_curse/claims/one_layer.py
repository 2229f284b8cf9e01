"""Claims on the theory of the one-layer transformer: Zhu et al. 2024, section 4.

Y and Z start at zero, so seeds differ only in their sentences, and their effects are equal
wherever the theory is exact.
"""

from functools import partial

import polars as pl

from reversal_curse.claims import effects
from reversal_curse.claims.claim import Claim, Tables, Threshold
from reversal_curse.claims.effects import STANDS_OUT, effect_of
from reversal_curse.claims.theory import any_loss
from reversal_curse.tables.summaries import LAST, asymmetry, one_layer_bounds, partner_contrasts

SEEN, UNSEEN = pl.col("split") == "train", pl.col("split") == "unseen"
ROUNDING = -1e-9
MODEL = {"family": ("one_layer",), "entity_length": (1,), "loss": ("cross_entropy",)}
_reversal, _chain = (
    partial(
        Claim,
        paper=f"P1, section 4, {task} theorem",
        where={"task": (task,), **MODEL},
        may_vary=("vocab_size",),
        tables=("sentence_nll",),
    )
    for task in ("reversal", "chain")
)


@effect_of
def _bounds(tables: Tables, value: pl.Expr, *where: pl.Expr) -> pl.DataFrame:
    """Return the smallest `value` over steps and sentences, by grid point and seed."""
    bounds = one_layer_bounds(tables["sentence_nll"]).filter(*where)
    return bounds.group_by("run", "seed").agg(effect=value.min())


def _asymmetry(tables: Tables) -> pl.DataFrame:
    held_out = asymmetry(tables["weights"]).filter(pair_split="validation")
    return held_out.select("run", "seed", effect="asymmetry")


def _intransitivity(tables: Tables) -> pl.DataFrame:
    """Return 0.1 minus (contrast of A ~> C / the smaller one of A -> B and B -> C), per seed."""
    contrasts = partner_contrasts(tables["weights"]).filter(pair_split="validation")
    link = pl.col("source_role") + pl.col("target_role")
    mean = {name: pl.col("contrast").filter(link == name).mean() for name in ("AB", "BC", "AC")}
    by_seed = contrasts.group_by("seed").agg(**mean).drop_nulls()
    steps = pl.min_horizontal("AB", "BC")
    left = pl.when(steps > STANDS_OUT.above).then(0.1 - pl.col("AC") / steps)
    return by_seed.select("seed", effect=left)


CLAIMS = {
    "one_layer_seen_bound": _reversal(
        statement="What is trained is learned: p >= 1 - (M - 1) (M eta_Y t / N)^(-c) for all t.",
        measures="largest c with which the bound holds at every step, sentence and vocabulary",
        effect=_bounds(pl.col("exponent"), SEEN),
        threshold=Threshold(
            0.5, "at least half the rate 1 / t that the update gives in the end (derived)"
        ),
        check="the update is a recursion that has no chance in it, the same in every seed",
    ),
    "one_layer_seen_rate": _reversal(
        statement="In the end what is trained is learned at the rate c = 1: 1 - p falls as "
        "(M - 1) / (M eta_Y t / N).",
        measures="0.05 minus the distance of c from 1 after the last step",
        effect=_bounds(0.05 - (pl.col("exponent") - 1).abs(), SEEN, LAST),
        threshold=Threshold(0.0, "c within 0.05 of the derived 1"),
        check="1 - p = (M - 1) / (M eta_Y n) after n visits follows from the update",
    ),
    "one_layer_unseen_bound": _reversal(
        statement="The held-out direction never becomes more probable than 1 / M.",
        measures="1 minus the largest M p over steps, sentences and vocabularies",
        effect=_bounds(1 - pl.col("ratio"), UNSEEN),
        threshold=Threshold(
            ROUNDING,
            "the theorem's bound; starting from zero it is met with equality, up to rounding",
        ),
        check="no sentence writes the row of a held-out question, which starts at zero: p = 1 / M",
    ),
    "one_layer_chain_steps": _chain(
        statement="The two steps of a held-out chain, A -> B and B -> C, are learned.",
        measures="smallest p of the two answers after the last step",
        effect=_bounds(1 - pl.col("missing"), SEEN, LAST),
        threshold=Threshold(0.95, "as for the training sentences of the transformers"),
        check="the update is a recursion that has no chance in it, the same in every seed",
    ),
    "one_layer_chain_trained": Claim(
        statement="The training sentences of the chain are learned.",
        paper="P1, section 4",
        where={"task": ("chain",), **MODEL},
        may_vary=("vocab_size",),
        **effects.LEARNS,
        check="A -> B and A ~> C share the row Y[A], so no training can learn both",
    ),
    "one_layer_chain_bound": _chain(
        statement="The leap A ~> C of a held-out chain never becomes more probable than 1 / M.",
        measures="1 minus the largest M p over steps, sentences and vocabularies",
        effect=_bounds(1 - pl.col("ratio"), UNSEEN),
        threshold=Threshold(ROUNDING, "the theorem's bound, up to rounding"),
        check="row Y[A] of a held-out chain is written by A -> B alone",
    ),
    **{
        f"{family}_asymmetric": Claim(
            paper=f"P1, section {section}",
            statement=f"The effective weights of the {words} are asymmetric: a pair of which one "
            "direction was trained has weight in that direction alone.",
            where={"task": ("reversal",), **MODEL, "family": (family,)},
            tables=("weights",),
            measures="|c_ab - c_ba| / (|c_ab| + |c_ba|) of held-out pairs, c: contrast of the "
            "partner with the other entities",
            effect=_asymmetry,
            threshold=Threshold(0.8, "0.8: one direction has nine times the other's weight"),
            check=check,
        )
        for family, section, words, check in (
            ("one_layer", "4", "one-layer transformer", "one of both entries is exactly 0"),
            ("bilinear", "3", "bilinear model", ""),
        )
    },
    "one_layer_any_loss": any_loss(
        "one_layer",
        "the one-layer transformer",
        "no sentence writes the row of a held-out question, which starts at zero",
    ),
    "one_layer_intransitive": Claim(
        paper="P1, section 4",
        statement="The effective weights of the one-layer transformer are intransitive: weight "
        "from A to B and from B to C gives none from A to C.",
        where={"task": ("chain",), **MODEL},
        tables=("weights",),
        measures="0.1 minus (contrast of A to C / the smaller one of A to B and B to C)",
        effect=_intransitivity,
        threshold=Threshold(0.0, "less than a tenth of the steps' contrast"),
        check="row Y[A] of a held-out chain is written by A -> B alone",
    ),
}
