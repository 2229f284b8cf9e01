"""Every claim can be supported, contradicted or untested, and is judged on the right data."""

from __future__ import annotations

import itertools
import math
import re
from functools import partial

import numpy as np
import polars as pl
import pytest

from reversal_curse.claims import mechanism, reversal
from reversal_curse.claims.claim import Claim, Threshold, select
from reversal_curse.claims.falsify import falsify
from reversal_curse.claims.judgement import LEAST_SEEDS, holm, judge
from reversal_curse.claims.ledger import CLAIMS, PAPERS, claim_points, evaluate, page, write_ledger
from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config
from reversal_curse.config.grid import Sweep, read_sweeps, run_directory
from reversal_curse.config.settings import DEFAULTS, choices, meaningful, settle
from reversal_curse.tables.files import write_table
from reversal_curse.tables.run_files import Runs
from reversal_curse.tables.schemas import TABLES
from reversal_curse.tables.summaries import t_interval

from . import synthetic
from .synthetic import CHOICE, gathered, point, write_runs

SEEDS = 5
CLASS, VOCABULARY = math.log(20), math.log(82)
LEARNED, CURSED, INFERRED = 0.001, 7.0, 0.02
"""Losses (nats) of what is known, of what is worse than a guess, and of what is inferred."""


def losses(points: list[dict], unseen: float, train: float = LEARNED) -> dict:
    """Return `metrics` with these final losses (nats), accuracies exp(-loss), and what is known."""
    rows = [
        {**one, "seed": seed, "epoch": epoch, "split": split, "nll_token": loss, "nll_word": loss}
        | {"accuracy": math.exp(-loss), "chance_class": CLASS, "chance_vocab": VOCABULARY}
        | CHOICE
        | ({"accuracy_choice": math.exp(-loss), "rank_choice": 1.0} if loss < 1 else {})
        for one, seed in itertools.product(points, range(SEEDS))
        for split, final in (("train", train), ("unseen", unseen))
        for epoch, loss in ((0, VOCABULARY), (10, final + 0.001 * seed))
    ]
    return {"metrics": gathered("metrics", rows)}


def diffusion(**given) -> dict:
    values = {"family": "masked_diffusion", "task": "facts", "pos_encoding": "rotary", "heads": 1}
    return point(**values | given)


def one_of(name: str, points: list[dict], *values, **named) -> dict:
    return {name: getattr(synthetic, name)(points, *values, seeds=SEEDS, **named)}


def separation(*exponents: float) -> dict:
    """Return losses with one exponent per dimension."""
    dims = (16, 32, 64)[: len(exponents)]
    points = [point(family="bilinear", embed_dim=d, vocab_size=80) for d in dims]
    return one_of("separation", points, *exponents)


def pretrained(diffusion=True, causal=False, correlated=True, **values) -> dict:
    """Return tables of two kinds of models that do or do not reverse facts."""
    reverses = {"masked_diffusion": diffusion, "causal": causal}
    return {
        "pretrained_answers": synthetic.answers(reverses, seeds=SEEDS, **values),
        "pretrained_scores": synthetic.scores(correlated, seeds=SEEDS),
        "pretrained_gradients": synthetic.pretrained_gradients(reverses, seeds=SEEDS),
    }


def changed(tables: dict, **values) -> dict:
    """Change values of some columns in the tables that have these columns."""
    exprs = {c: v if isinstance(v, pl.Expr) else pl.lit(v) for c, v in values.items()}
    return {
        name: table.with_columns(v.alias(c) for c, v in exprs.items() if c in table.columns)
        for name, table in tables.items()
    }


def by_encoding(absolute: float, other: float) -> pl.Expr:
    return pl.when(pl.col("pos_encoding") == "absolute").then(absolute).otherwise(other)


def generalised(points: list[dict]) -> tuple[dict, dict]:
    """Return tables in which unseen sentences are known, and others in which they are not."""
    return losses(points, INFERRED), losses(points, CURSED)


def cursed(points: list[dict]) -> tuple[dict, dict]:
    return generalised(points)[::-1]


def benched(points: list[dict], where: pl.Expr, split: str = "unseen") -> dict:
    """Return `metrics` in which a split is right and an echo where asked, and nowhere else."""
    final, *_ = losses(points, CURSED).values()
    unseen = final.filter(split="unseen", epoch=10)
    rows = [final, *(unseen.with_columns(split=pl.lit(name)) for name in ("forward", "wrong"))]
    right = pl.when(where).then(1.0).otherwise(0.0)
    here = (pl.col("split") == split) & (pl.col("epoch") > 0)
    names = ("accuracy", "accuracy_choice", "rank_choice", "echo")
    found = {name: pl.when(here).then(right).otherwise(pl.col(name)) for name in names}
    return changed({"metrics": pl.concat(rows)}, **found)


def by_remedy(points: list[dict], where: pl.Expr, split: str = "unseen") -> tuple[dict, dict]:
    """Return tables in which a split is right where asked only, and where not asked only."""
    return benched(points, where, split), benched(points, ~where, split)


def arms(two_way: float = 0.5, **values: list) -> list[dict]:
    """Return every combination of remedies, with and without positions."""
    values |= {"pos_encoding": ["none", "absolute"]}
    every = (dict(zip(values, row, strict=True)) for row in itertools.product(*values.values()))
    return [point(task="inverse", two_way=two_way, **one) for one in every]


NONE = {name: pl.col(name) == "none" for name in ("bridge", "reversal")}
FULL, ENTITY = pl.col("bridge") == "full", pl.col("reversal") == "entity"
BRIDGES = [arms(two_way, bridge=choices("bridge")) for two_way in (0.0, 0.5)]
TURNED = arms(reversal=choices("reversal"))
COPIES = [
    point(task="inverse", **given)
    for given in (
        {},
        {"copy_first": "masked"},
        {"copy_first": "masked", "mask_rate": "fixed"},
        {"copy_first": "random"},
    )
]
COPIED = (pl.col("copy_first") == "masked") & (pl.col("mask_rate") == "uniform")
LONG = [point(task="inverse", entity_length=2, reversal=name) for name in choices("reversal")]
WHOLE = [
    point(task="inverse", family="masked_diffusion", entity_length=2, mask_entities=whole)
    for whole in (False, True)
]
RATES = [
    point(task="inverse", family="masked_diffusion", mask_rate=rate)
    for rate in ("uniform", "fixed")
]
FAMILIES = [point(task="inverse", family=name) for name in ("gpt", "masked_diffusion")]
HOPS = [point(task="two_hop", bridge="objects"), point(task="two_hop")]
FACTORS = [point(family="one_layer", factorised=factorised) for factorised in (False, True)]
GRAPHS = [point(task="relational", weight_decay=decay) for decay in (0.0, 3.0)]
TWO = [point(layers=1), point(layers=2)]
DECAYS = [point(), point(weight_decay=0.9)]
LOSSES = [
    point(family=family, loss=loss, learning_rate=1.0)
    for family in ("bilinear", "one_layer")
    for loss in ("cross_entropy", "brier", "hinge")
]
HEADS = [point(), point(tie_head=True)]
DIFFUSION = [diffusion(pos_encoding=name) for name in ("absolute", "rotary", "alibi")]
AUTOREGRESSIVE = [one | {"family": "gpt"} for one in DIFFUSION]
COMPARED = AUTOREGRESSIVE + DIFFUSION
EXPOSED = [one | {"exposure": True} for one in COMPARED]
NEAR = [diffusion(masking=arm) for arm in ("any_order", "subject", "object")]
FAR = [one | {"distance": 3} for one in NEAR]
ARMS = [*NEAR, *FAR, diffusion(masking="either")]
ROTARY = [
    diffusion(embed_dim=64, heads=heads, distance=distance, masking=masking)
    for masking, heads, distance in itertools.product(("any_order", "either"), (1, 4), (1, 3, 9))
]
ONE_LAYER = [point(family="one_layer", task=task, vocab_size=80) for task in ("reversal", "chain")]
logits = partial(one_of, "logits", [point(), point(task="chain")])
embeddings = partial(one_of, "embeddings", [point(embed_dim=32)])
two_steps = partial(one_of, "chain_of_thought", [point(task="chain")])
one_layer = partial(one_of, "sentence_nll", ONE_LAYER)
weights = partial(one_of, "weights", [*ONE_LAYER, point(family="bilinear", embed_dim=256)])
attention = partial(one_of, "attention", ROTARY)
attention_absolute = partial(one_of, "attention", [diffusion(pos_encoding="absolute")])
GRADIENTS, PRETRAINED = one_of("gradients", COMPARED), pretrained()
UNALIGNED = changed(GRADIENTS, cosine_control=0.9)
CURSE, KNOWN = cursed(TWO), losses(COMPARED, INFERRED)
PASSAGE = separation(0.0, 0.0, 0.0), separation(1.0, 1.0, 1.0)
REVERSED = PRETRAINED, pretrained(diffusion=False, causal=True)
CASES = {
    # claims: (tables that support them, tables that contradict them); CURSE for all others
    "reversal_learned chain_learned one_layer_chain_trained": (
        losses(TWO, CURSED),
        losses(TWO, CURSED, train=2.0),
    ),
    "reversal_logits_seen chain_logits_seen": (logits(), logits(seen=1.0)),
    "reversal_logits_unseen chain_logits_unseen": (logits(unseen=0.1), logits(unseen=8.0)),
    "embeddings_near_orthogonal": (embeddings(), embeddings(mean=10.0)),
    "in_context_reversal chain_related_inferred": generalised(TWO),
    "chain_related_words": CURSE,
    "tied_head_unsaid untied_head_unknown": cursed(HEADS),
    "tied_head_known": generalised(HEADS),
    "printed_decay_learns printed_decay_confident": (
        losses(DECAYS, CURSED),
        losses(DECAYS, CURSED, train=2.0),
    ),
    "bilinear_separation": (separation(0.3, 0.2, 0.1), separation(1.2, 1.2, 1.2)),
    "bilinear_exponent_shrinks bilinear_exponent_rate": (
        separation(0.3, 0.2, 0.1),
        separation(0.1, 0.2, 0.3),
    ),
    "bilinear_first_passage_1 bilinear_first_passage_01 bilinear_first_passage_001": PASSAGE,
    "diffusion_reverses diffusion_reverses_said diffusion_reverses_known": generalised(COMPARED),
    "diffusion_reverse_below_forward": (losses(COMPARED, INFERRED), losses(COMPARED, 0.0)),
    "absolute_positions_known": generalised(COMPARED),
    "absolute_positions_guess": cursed(COMPARED),
    "exposed_autoregression_unsaid exposed_autoregression_unknown": cursed(EXPOSED),
    "exposed_diffusion_known": generalised(EXPOSED),
    "bilinear_any_loss one_layer_any_loss": cursed(LOSSES),
    "chain_of_thought": (two_steps(right=True), two_steps(right=False)),
    "values_stored_rotary": (attention(stored=1.0), attention(stored=0.5)),
    "values_stored_absolute": (attention_absolute(stored=1.0), attention_absolute(stored=0.5)),
    "autoregression_does_not autoregression_unknown": cursed(COMPARED),
    "relative_positions_needed": cursed([*DIFFUSION[:1], diffusion(pos_encoding="none")]),
    "absolute_positions_hurt": (changed(KNOWN, nll_token=by_encoding(CURSED, INFERRED)), KNOWN),
    "masking_subject_transfers masking_subject_said": generalised(ARMS),
    "masking_any_order_far masking_any_order_far_known": generalised(ARMS),
    "any_order_needed masking_object_does_not": cursed(ARMS),
    "one_layer_seen_bound": (one_layer(exponent=0.9), one_layer(exponent=0.4)),
    "one_layer_seen_rate": (one_layer(exponent=0.98), one_layer(exponent=0.8)),
    "one_layer_unseen_bound": (one_layer(), one_layer(unseen_ratio=1.01)),
    "one_layer_chain_steps": (one_layer(), one_layer(exponent=0.5)),
    "one_layer_chain_bound": (one_layer(unseen_ratio=0.5), one_layer(unseen_ratio=2.0)),
    "one_layer_asymmetric bilinear_asymmetric": (weights(), weights(back=9.0)),
    "one_layer_intransitive": (weights(), weights(leap=5.0)),
    "scores_closed_form": (attention(), attention(before=0.0)),
    "scores_closed_form_trend": (attention(), attention(before=0.5)),
    "scores_correlated_trained": (attention(after=0.4), attention(after=-0.4)),
    "scores_correlated_untrained": (attention(before=0.4), attention(before=-0.4)),
    "scores_correlated_either": (attention(after=0.4), attention(after=-0.4)),
    "gradients_aligned values_shared": (GRADIENTS, UNALIGNED),
    "gradients_aligned_throughout values_shared_throughout": (GRADIENTS, UNALIGNED),
    "gradients_aligned_more": (
        changed(GRADIENTS, cosine=by_encoding(0.3, 0.9)),
        changed(GRADIENTS, cosine=by_encoding(0.9, 0.3)),
    ),
    "gradients_not_aligned_gpt": (changed(GRADIENTS, cosine=0.05), GRADIENTS),
    "reverse_below_forward": (GRADIENTS, changed(GRADIENTS, nll_reverse=0.5)),
    "forward_step_helps_reverse": (GRADIENTS, changed(GRADIENTS, actual_change=0.01)),
    "forward_step_hurts_gpt": (changed(GRADIENTS, actual_change=0.01), GRADIENTS),
    "first_order_predicts": (GRADIENTS, changed(GRADIENTS, actual_change=-0.005)),
    "values_shared_more": (GRADIENTS, one_of("gradients", COMPARED, attention_cosine=0.9)),
    "bridge_answers bridge_answers_unless_absolute bridge_known": by_remedy(BRIDGES[0], FULL),
    "bridge_echoes_absolute": by_remedy(BRIDGES[0], FULL),
    "naive_identity_fails bridge_needs_all_parts": by_remedy(BRIDGES[0], NONE["bridge"]),
    "naive_identity_fails_two_way": by_remedy(BRIDGES[1], NONE["bridge"]),
    "bridge_keeps_forward": (
        benched(BRIDGES[1], pl.lit(True), "forward"),
        benched(BRIDGES[1], ~FULL, "forward"),
    ),
    "bridge_inverts_nothing_else": by_remedy(BRIDGES[1], NONE["bridge"], "wrong"),
    "two_hop_bridge": generalised(HOPS),
    "two_hop_without": cursed(HOPS),
    "reversed_answers": by_remedy(TURNED, ENTITY),
    "permuted_answers": by_remedy(TURNED, pl.col("reversal") == "permutation"),
    "reversed_inverts_nothing_else": by_remedy(TURNED, NONE["reversal"], "wrong"),
    "reversed_entities_whole": by_remedy(LONG, ENTITY),
    "any_rate_better masked_copy_answers masked_copy_against_random": by_remedy(COPIES, COPIED),
    "any_rate_better_diffusion": by_remedy(RATES, pl.col("mask_rate") == "uniform"),
    "whole_entities_better": by_remedy(WHOLE, pl.col("mask_entities")),
    "diffusion_inverts_nothing_else": by_remedy(FAMILIES, pl.col("family") == "gpt", "wrong"),
    "factorised_known": generalised(FACTORS),
    "relational_decay": generalised(GRAPHS),
    "relational_decay_needed": cursed(GRAPHS),
    "pretrained_diffusion_reverses pretrained_causal_does_not pretrained_diffusion_ahead": REVERSED,
    "pretrained_diffusion_known pretrained_causal_unknown": REVERSED,
    "pretrained_reverse_below": (PRETRAINED, pretrained(reverse_nll=0.05)),
    "pretrained_scores_correlated": (PRETRAINED, pretrained(correlated=False)),
    "pretrained_gradients_aligned": (PRETRAINED, changed(PRETRAINED, cosine_control=0.9)),
    "pretrained_gradients_not_causal": (PRETRAINED, pretrained(causal=True)),
    "pretrained_first_order": (PRETRAINED, changed(PRETRAINED, actual_change=-0.15)),
}
TABLES_OF = {claim: pair for claims, pair in CASES.items() for claim in claims.split()}
OF_A_SWEEP = [name for name, claim in CLAIMS.items() if not claim.pretrained]
OF_MODELS = [name for name, claim in CLAIMS.items() if claim.pretrained]


def judged(claim: str, tables: dict):
    return judge(CLAIMS[claim], {name: tables[name] for name in CLAIMS[claim].tables})


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_is_supported_if_it_holds_contradicted_if_not_and_else_untested(claim):
    good, bad = TABLES_OF.get(claim, CURSE)
    result = judged(claim, good)
    assert result.verdict == "supported"
    assert result.n_seeds == SEEDS
    assert result.ci_low <= result.effect <= result.ci_high
    assert judged(claim, bad).verdict == "contradicted"
    empty = judged(claim, {name: table.clear() for name, table in good.items()})
    assert (empty.verdict, empty.reason[:9]) == ("not tested", "too small")


@pytest.mark.parametrize(
    ("claim", "tables"),
    [
        ("reversal_vocab", losses([point()], CURSED)),
        ("chain_layers", losses([point()], CURSED)),
        ("autoregression_does_not", losses(DIFFUSION, CURSED)),
        ("absolute_positions_hurt", losses([*AUTOREGRESSIVE, *DIFFUSION[:1]], CURSED)),
        ("masking_subject_transfers", losses(NEAR[:1], CURSED)),
        ("masking_any_order_far", losses(NEAR, INFERRED)),
        ("masking_object_does_not", losses(NEAR[:2], CURSED)),
        ("printed_decay_learns", losses(DECAYS[:1], CURSED)),
        ("reversal_weight_decay", losses(DECAYS, CURSED, train=2.0)),
        ("reversal_curse", changed(losses(TWO, CURSED, 3.0), accuracy=1.0)),  # improbable
        ("reversal_logits_unseen", logits(seen=1.0)),
        ("bilinear_exponent_shrinks", separation(0.3, 0.2)),
        ("one_layer_intransitive", one_of("weights", ONE_LAYER[:1])),
        ("one_layer_intransitive", changed(weights(), weight=0.0)),
        ("one_layer_seen_bound", changed(one_layer(), learning_rate=1e-6)),  # too early to say
        ("scores_correlated_either", one_of("attention", ROTARY[:2])),
        ("gradients_aligned", one_of("gradients", AUTOREGRESSIVE)),
        ("gradients_not_aligned_gpt", one_of("gradients", DIFFUSION)),
        *(
            (claim, losses(TWO, VOCABULARY, train=VOCABULARY))  # an untrained model is not cursed
            for claim in sorted({*OF_A_SWEEP} - {*TABLES_OF})
        ),
    ],
)
def test_a_claim_without_what_its_effect_compares_is_not_tested(claim, tables):
    assert judged(claim, tables).verdict == "not tested"


def test_a_pretrained_model_of_another_kind_or_that_did_not_learn_shows_nothing():
    for claim in OF_MODELS:
        for other in ({"kind": "masked_lm"}, {"arm": "names only"}):
            assert judged(claim, changed(PRETRAINED, **other)).verdict == "not tested"
        if claim != "pretrained_first_order":  # calculus holds whatever was learned
            assert judged(claim, changed(PRETRAINED, exact=False)).verdict == "not tested"
    no_steps = changed(PRETRAINED, actual_change=None)
    assert judged("pretrained_first_order", no_steps).verdict == "not tested"


def test_a_model_with_a_remedy_does_not_count_beside_the_one_without():
    others = changed(REVERSED[1], arm="identity bridge", model=pl.col("model") + "_bridge")
    both = {name: pl.concat([table, others[name]]) for name, table in PRETRAINED.items()}
    for claim in OF_MODELS:
        assert judged(claim, both) == judged(claim, PRETRAINED)


def test_a_point_that_was_not_learned_is_left_out_and_the_others_judged():
    nll = pl.when(pl.col("layers") == 4).then(2.0).otherwise(pl.col("nll_token"))
    tables = changed(losses([*TWO, point(layers=4)], CURSED), nll_token=nll)
    assert judged("reversal_layers", tables).verdict == "supported"


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("column", ["nll_token", "echo", "nll_set"])
def test_a_seed_with_a_number_that_is_not_finite_is_judged_nowhere(value, column):
    here = (pl.col("layers") == 2) & (pl.col("seed") == 1) & (pl.col("epoch") == 0)
    bad = pl.when(here).then(value).otherwise(pl.col(column))
    result = judged("reversal_layers", changed(losses(TWO, CURSED), **{column: bad}))
    assert (result.n_seeds, result.n_points, result.n_left_out) == (SEEDS - 1, 2, 2)


def test_a_bilinear_model_that_diverged_supports_nothing():
    pushed = pl.when(pl.col("epoch") == 0).then(4.0).otherwise(1e36)
    diverged = changed(separation(0.3, 0.2, 0.1), nll_forward=pushed, nll_reverse=pushed)
    for claim in (name for name in CLAIMS if name.startswith("bilinear") and name in TABLES_OF):
        if CLAIMS[claim].tables == ("separation",):
            assert judged(claim, diverged).verdict == "not tested", claim


def constant(values: list[float], threshold: Threshold, **fields) -> tuple[Claim, dict]:
    """Return a claim with these effects of seeds, and tables for it."""
    frame = pl.DataFrame({"seed": range(len(values)), "effect": values})
    return Claim("P1", "s", "m", lambda tables: frame, threshold, **fields), {"metrics": frame}


@pytest.mark.parametrize(
    ("values", "expected", "median", "reaching"),
    [
        ([1.0, 1.1, 0.9, 1.2, 0.8], "supported", 1.0, 5),
        ([-1.0, -1.1, -0.9, -1.2, -0.8], "contradicted", -1.0, 0),
        ([-4.0, 5.0, 4.0, -3.0, 1.0], "inconclusive", 1.0, 3),  # although the mean is above 0
        ([0.1, -0.1, 0.0, 9.0, 0.0], "inconclusive", 0.0, 2),
        ([0.0] * 5, "inconclusive", 0.0, 0),  # no trend at all is not a trend
        ([1.0, 1.1, 0.9, 1.0], "inconclusive", 1.0, 4),  # four seeds decide nothing
        ([1.0], "inconclusive", 1.0, 1),
    ],
)
def test_the_verdict_follows_from_the_interval_over_seeds(values, expected, median, reaching):
    found = judge(*constant(values, Threshold(0.0, "b")))
    assert found.verdict == expected
    assert found.median == pytest.approx(median)
    assert (found.n_reaching, found.n_seeds) == (reaching, len(values))
    assert (found.p_value is None) == (len(values) < LEAST_SEEDS)


@pytest.mark.parametrize(
    ("center", "spread", "expected"),
    [
        (0.5, 0.01, "supported"),
        (0.5, 0.1, "inconclusive"),
        (0.54, 0.02, "inconclusive"),
        (0.7, 0.01, "contradicted"),
        (0.3, 0.01, "contradicted"),
    ],
)
def test_a_guess_is_claimed_only_if_the_whole_interval_is_near_chance(center, spread, expected):
    values = [center + spread * x for x in (-1, -0.5, 0, 0.5, 1)]
    assert judge(*constant(values, Threshold(0.45, "b", 0.55))).verdict == expected


def test_one_grid_point_contradicts_a_claim_about_several():
    rows = [
        (run, seed, effect + 0.1 * seed)
        for run, effect in (("a", 9), ("b", -1))
        for seed in range(5)
    ]
    frame = pl.DataFrame(rows, ["run", "seed", "effect"], orient="row")
    claim = Claim("P1", "s", "m", lambda tables: frame, Threshold(0.0, "b"))
    found = judge(claim, {"metrics": frame})
    assert (found.verdict, found.effect, found.n_points) == ("contradicted", pytest.approx(-0.8), 2)


def test_the_ledger_counts_how_many_verdicts_it_gives():
    p_values = pl.Series([0.01, None, 0.04, 0.03, 0.005])
    assert holm(p_values).to_list() == pytest.approx([0.03, None, 0.06, 0.06, 0.02])


def test_a_claim_names_its_paper_and_is_understood_without_its_neighbours():
    """A row of `claims.parquet` must make sense alone: readers filter and sort the table."""
    for name, claim in CLAIMS.items():
        assert re.match(r"\w+", claim.paper)[0] in PAPERS, name
        assert claim.threshold.because, name
        assert claim.statement.split()[0] not in ("It", "They", "So", "This", "These", "Such"), name
        assert not re.search(r"\b(that|this|such a) (bound|step|model)\b", claim.statement), name
        if name in mechanism.CLAIMS:  # two families, opposite findings
            assert re.search("masked diffusion|autoregressive", claim.statement), name


def two_values(claim: Claim, name: str) -> list:
    """Return two values of a setting that a claim allows."""
    default, values = DEFAULTS[name], claim.where.get(name) or choices(name)
    if values:
        return [values[0], values[-1]]
    return [default, 2 * default if isinstance(default, int) else 0.9 * default or 0.1]


def sweep_of(claim: Claim, *names: str) -> Sweep:
    """Return grid points that a claim is about, with two values of each of some settings."""
    base = {**DEFAULTS, **{name: allowed[-1] for name, allowed in claim.where.items()}}
    values = itertools.product(*(two_values(claim, name) for name in names))
    points = [settle(base | dict(zip(names, v, strict=True))) for v in values]
    return Sweep({run_directory(settings): settings for settings in points}, {})


@pytest.mark.parametrize("claim", OF_A_SWEEP)
def test_a_claim_is_judged_on_sweeps_that_vary_what_it_is_about_and_nothing_else(claim):
    claim = CLAIMS[claim]
    right = sweep_of(claim, *claim.varies)
    chosen = select(claim, {"x": right})
    assert (chosen.points, chosen.sweeps, chosen.reason) == (right.points, ("x",), "")
    for name in claim.may_vary:
        more = sweep_of(claim, *claim.varies, name)
        assert select(claim, {"x": more}).sweeps == ("x",), name
    used = meaningful(vars(next(iter(right.points.values()))))
    for name in used - {*claim.varies, *claim.may_vary, *claim.where, "precision", "compile"}:
        wrong = {"x": sweep_of(claim, *claim.varies, name)}
        chosen = select(claim, wrong)
        assert (chosen.points, chosen.sweeps) == ({}, ()), name
        assert chosen.reason.startswith("needs a sweep with ")
        assert select(claim, wrong | {"y": right}).sweeps == ("y",), name
    for name in claim.varies:
        fewer = sweep_of(claim, *(other for other in claim.varies if other != name))
        assert name in select(claim, {"x": fewer}).reason.split("only ")[1]
    task = "in_context" if claim.where.get("task") != ("in_context",) else "chain"
    elsewhere = Sweep({"run": settle({**DEFAULTS, "task": task, "family": "one_layer"})}, {})
    assert select(claim, {"x": elsewhere}).reason.startswith("not in this config: no grid point")


def config_of(raw: dict) -> Config:
    settings = {"layers": 1, "heads": 1, "embed_dim": 8, "vocab_size": 20, "epochs": 10, "seeds": 5}
    return Config.parse({"defaults": settings, **raw})


def test_a_sweep_over_one_setting_judges_no_claim_on_another():
    sweeps = read_sweeps(config_of({"sweeps": {"reversal_frozen": {"dropout": [0.0, 0.1]}}}))
    reasons = {claim: select(CLAIMS[claim], sweeps).reason for claim in OF_A_SWEEP}
    assert all(reasons.values())
    assert claim_points(sweeps) == {}
    conditions = "needs a sweep with task reversal, family gpt, tie_head False and only"
    assert reasons["reversal_frozen"] == f"{conditions} freeze_embeddings varied"
    assert reasons["reversal_weight_decay"] == f"{conditions} weight_decay varied"
    assert "no grid point has task chain" in reasons["chain_frozen"]


def ledger(raw: dict, tmp_path) -> tuple[pl.DataFrame, str]:
    """Judge runs that learned only their training set; return the table and the page."""
    config = config_of(raw)
    write_runs(config, tmp_path, lambda one: losses([one], CURSED)["metrics"])
    paths = tmp_path / "claims.parquet", tmp_path / "claims.md"
    table = write_ledger(config, Runs(tmp_path), [], *reversed(paths))
    assert pl.read_parquet(paths[0]).equals(table)
    return table, paths[1].read_text()


FIGURES = {"reversal_curve": "curse", "vocabularies": {"plot": "curves", "sweep": "vocab"}}
RAW = {"sweeps": {"curse": {}, "vocab": {"vocab_size": [20, 40]}}, "figures": FIGURES}


def test_the_ledger_says_what_was_judged_on_what_and_why_the_rest_was_not(tmp_path):
    table, text = ledger(RAW, tmp_path)
    rows = {row["id"]: row for row in table.iter_rows(named=True)}
    assert rows["reversal_curse"]["verdict"] == rows["reversal_vocab"]["verdict"] == "supported"
    assert rows["reversal_curse"]["figure"] == "reversal_curve"
    assert rows["reversal_vocab"]["figure"] == "vocabularies"
    assert rows["reversal_vocab"]["grid"].startswith("vocab: 2 grid points; vocab_size 20, 40")
    assert rows["reversal_layers"]["verdict"] == rows["chain_learned"]["verdict"] == "not tested"
    assert "only layers varied" in rows["reversal_layers"]["reason"]
    assert rows["reversal_logits_seen"]["reason"] == "too small: no rows in logits"
    assert "no pretrained models" in rows[OF_MODELS[0]]["reason"]
    assert "epochs 10 (built in: 3000)" in text
    sections = text.split("## Papers")[1]
    shown = [line for line in sections.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in shown)
    assert "[vocabularies](figures/vocabularies.pdf)" in text
    assert all(c.statement in text and f"`{name}`" in text for name, c in CLAIMS.items())
    assert f"{SEEDS} of {SEEDS} seeds" in text


def test_names_of_sweeps_and_figures_change_no_verdict(tmp_path):
    renamed = {"sweeps": {"x": {}, "reversal_layers": {"vocab_size": [40, 20]}}}
    renamed["figures"] = {"chain_curve": "x", "reversal_frozen": "reversal_layers"}
    names = ("id", "verdict", "effect", "ci_low", "ci_high", "n_seeds")
    first, second = (ledger(raw, tmp_path)[0] for raw in (RAW, renamed))
    assert first.select(names).equals(second.select(names))


def test_the_ledger_reads_pretrained_models_if_the_config_has_some(tmp_path):
    models = [{"name": name, "kind": kind, "path": "unread"} for name, kind in synthetic.PRETRAINED]
    raw = {"sweeps": {"a": {"task": "in_context"}}, "pretrained": models}
    for name, table in PRETRAINED.items():
        path = tmp_path / f"pretrained/{name.removeprefix('pretrained_')}.parquet"
        write_table(path, table, TABLES[name])
    table, text = ledger(raw, tmp_path)
    found = table.filter(pl.col("id").is_in(OF_MODELS))
    assert set(found["verdict"]) == {"supported"}
    assert set(found["grid"]) == {"pretrained: diffusion, causal"}
    assert all(figure.startswith("pretrained_") for figure in found["figure"])
    assert "## Pretrained models" in text


def test_falsify_says_what_changes_each_verdict_and_refuses_evidence_that_nothing_does(
    tmp_path, capsys, monkeypatch
):
    config = config_of(RAW)
    write_runs(config, tmp_path, lambda one: losses([one], CURSED)["metrics"])
    falsify(config, Runs(tmp_path))
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["reversal_learned"].split(maxsplit=2)[2].startswith("supported")
    assert "train as unseen" in lines["reversal_learned"]
    assert "unseen as train" in lines["reversal_curse"]
    for name, check in (("wishful", ""), ("true_by_construction", "calculus")):
        claim, _ = constant([1.0] * 5, Threshold(0.0, "b"), check=check, where=reversal.UNTIED)
        monkeypatch.setitem(CLAIMS, name, claim)
    with pytest.raises(UserError, match=r"nothing changes them: wishful$"):
        falsify(config, Runs(tmp_path))


def test_a_missing_run_gives_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"layers=1/.*no finished run of these settings"):
        evaluate(config_of(RAW), Runs(tmp_path))


@pytest.mark.parametrize("verdict", ["contradicted", "supported", "not tested"])
def test_a_remark_follows_a_claim_that_was_judged(verdict):
    numbers = dict.fromkeys(("effect", "ci_low", "ci_high", "median", "n_seeds", "n_reaching"), 1)
    row = {"kind": "evidence", "verdict": verdict, "n_points": 1, "n_left_out": 0, **numbers}
    rows = [{"id": name, **row} for name in CLAIMS]
    text = page(config_of(RAW), pl.DataFrame(rows, TABLES["claims"].schema, strict=False), [])
    for name, claim in CLAIMS.items():
        assert (f"**{name}**" in text) == (bool(claim.remark) and verdict != "not tested")


COVERAGE = {
    # spread over seeds: (samples of mean 0, how often five and ten seeds must hold it)
    "normal": (lambda rng, shape: rng.normal(size=shape), 0.94, 0.94),
    "uniform": (lambda rng, shape: rng.uniform(-1, 1, size=shape), 0.92, 0.93),
    "skewed": (lambda rng, shape: rng.exponential(size=shape) - 1, 0.87, 0.88),
    "two of ten seeds fail": (lambda rng, shape: (rng.random(shape) < 0.2) - 0.2, 0.65, 0.87),
}


@pytest.mark.parametrize("spread", COVERAGE)
def test_the_interval_holds_the_truth_about_as_often_as_it_says(spread):
    draw, *least = COVERAGE[spread]
    for seeds, share in zip((5, 10), least, strict=True):
        samples = draw(np.random.default_rng(1), (4000, seeds))
        low, high = np.array([t_interval(values) for values in samples]).T
        assert ((low <= 0) & (high >= 0)).mean() >= share, seeds
