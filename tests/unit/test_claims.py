"""Every claim can be supported, contradicted and untested, and is judged on what it is about."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import polars as pl
import pytest

from reversal_curse.claims import mechanism
from reversal_curse.claims.claim import (
    CONTRADICTED,
    INCONCLUSIVE,
    NOT_TESTED,
    SUPPORTED,
    Claim,
    bootstrap_interval,
    judge,
    select,
)
from reversal_curse.claims.ledger import (
    CLAIMS,
    PAPERS,
    claim_points,
    evaluate,
    page,
    write_ledger,
)
from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config
from reversal_curse.config.grid import Sweep, read_sweeps, run_directory
from reversal_curse.config.settings import DEFAULTS, Settings, choices, meaningful, settle
from reversal_curse.tables.files import write_table
from reversal_curse.tables.schemas import TABLES

from . import synthetic
from .synthetic import gathered, point, write_runs

SEEDS = 5
CLASS, VOCABULARY = math.log(20), math.log(82)
LEARNED, CURSED, INFERRED = 0.001, 7.0, 0.02
"""Losses (nats): of what is known, of what is less known than by a guess, of what is found out."""


def metrics(points: list[dict], train: float, unseen: float, per_point=None) -> pl.DataFrame:
    """Final losses (nats) and accuracies exp(-loss); `per_point` maps a point to its own pair."""
    rows = [
        {**one, "seed": seed, "epoch": epoch, "split": split, "nll_token": loss, "nll_word": loss}
        | {"accuracy": math.exp(-loss), "chance_class": CLASS, "chance_vocab": VOCABULARY}
        for one in points
        for seed in range(SEEDS)
        for epoch in (0, 10)
        for split, final in zip(
            ("train", "unseen"), per_point(one) if per_point else (train, unseen), strict=True
        )
        for loss in [VOCABULARY if epoch == 0 else final + 0.001 * seed]
    ]
    return gathered("metrics", rows)


def losses(points: list[dict], unseen: float, train: float = LEARNED) -> dict:
    return {"metrics": metrics(points, train, unseen)}


def logits(seen: float, unseen: float, groups=("seen", "unseen")) -> dict:
    rows = [
        {**point(), "seed": seed, "group": group, "readout": "entity_relation"}
        | {"query": query, "candidate": candidate}
        | {"logit": height + 0.01 * seed if query == candidate else 0.0}
        for seed in range(SEEDS)
        for group, height in zip(groups, (seen, unseen), strict=True)
        for query in range(3)
        for candidate in range(3)
    ]
    return {"logits": gathered("logits", rows)}


def embeddings(alike: bool) -> dict:
    rng = np.random.default_rng(0)
    rows = [
        {**point(embed_dim=32), "seed": seed, "token": token, "role": "A", "position": token}
        | {"embedding": ((10.0 if alike else 0.0) + rng.normal(size=32)).tolist()}
        for seed in range(SEEDS)
        for token in range(12)
    ]
    return {"embeddings": gathered("embeddings", rows)}


def separation(exponents: dict[int, float], reverse: float = 6.0) -> dict:
    """Pairs for which the bound holds with equality at the given exponent per dimension."""
    rows = [
        {**point(family="bilinear", embed_dim=d, vocab_size=80), "seed": seed, "pair": 0}
        | {"epoch": epoch, "nll_forward": 4 * ratio, "nll_reverse": reverse * ratio**exponent}
        for d, exponent in exponents.items()
        for seed in range(SEEDS)
        for epoch, ratio in enumerate((1.0, 0.2, 0.02, 0.002))
    ]
    return {"separation": gathered("separation", rows)}


def diffusion(**given) -> dict:
    values = {"family": "masked_diffusion", "task": "facts", "pos_encoding": "rotary", "heads": 1}
    return point(**values | given)


TWO = [point(layers=1), point(layers=2)]
DECAYS = [point(), point(weight_decay=0.9)]
COMPARED = [
    diffusion(family=family, pos_encoding=encoding)
    for family in ("gpt", "masked_diffusion")
    for encoding in ("absolute", "rotary", "alibi")
]
NO_RELATIVE = [diffusion(pos_encoding=encoding) for encoding in ("none", "absolute")]
ARMS = [diffusion(masking=arm) for arm in ("any_order", "subject", "object")]
FAR = [diffusion(masking=arm, distance=3) for arm in ("any_order", "subject", "object")]
ALL_ARMS = [*ARMS, *FAR, diffusion(masking="either")]
ROTARY = [
    diffusion(embed_dim=64, heads=heads, distance=distance, masking=masking)
    for masking in ("any_order", "either")
    for heads in (1, 4)
    for distance in (1, 3, 9)
]
ONE_LAYER = [point(family="one_layer", task=task, vocab_size=80) for task in ("reversal", "chain")]
WEIGHTS = [*ONE_LAYER, point(family="bilinear", embed_dim=256)]
CHAIN = ("validation_a_to_b", "validation_a_to_c")
BOUND = {16: 0.3, 32: 0.2, 64: 0.1}


def one_layer(**values) -> dict:
    return {"sentence_nll": synthetic.sentence_nll(ONE_LAYER, seeds=SEEDS, **values)}


def weights(**values) -> dict:
    return {"weights": synthetic.weights(WEIGHTS, seeds=SEEDS, **values)}


def attention(**values) -> dict:
    return {"attention": synthetic.attention(ROTARY, seeds=SEEDS, **values)}


def gradients(points=COMPARED, **values) -> dict:
    return {"gradients": synthetic.gradients(points, seeds=SEEDS, **values)}


def by_encoding(rotary: float, absolute: float) -> dict:
    parts = [
        gradients([diffusion(pos_encoding=name)], cosine=cosine)["gradients"]
        for name, cosine in (("rotary", rotary), ("absolute", absolute))
    ]
    return {"gradients": pl.concat(parts)}


def by_position(absolute: float, relative: float) -> dict:
    def of(one: dict) -> tuple[float, float]:
        return LEARNED, absolute if one["pos_encoding"] == "absolute" else relative

    return {"metrics": metrics(COMPARED, 0, 0, of)}


def answers(diffusion: bool, causal: bool, **values) -> dict:
    reverses = {"masked_diffusion": diffusion, "causal": causal}
    return {"pretrained_answers": synthetic.answers(reverses, seeds=SEEDS, **values)}


def pretrained_gradients(causal: bool = False, error: float = 0.0, control: float = 0.0) -> dict:
    aligned = {"masked_diffusion": True, "causal": causal}
    table = synthetic.pretrained_gradients(aligned, error, seeds=SEEDS)
    table = table.with_columns(cosine_control=pl.lit(control, pl.Float32))
    return {"pretrained_gradients": table, **answers(True, causal)}


def pretrained_scores(correlated: bool) -> dict:
    table = synthetic.scores(correlated, seeds=SEEDS)
    return {"pretrained_scores": table, **answers(True, False)}


def generalised(points: list[dict]) -> tuple[dict, dict]:
    """Supported where the unseen is known."""
    return losses(points, INFERRED), losses(points, CURSED)


def cursed(points: list[dict]) -> tuple[dict, dict]:
    """Supported where the unseen is not known."""
    return generalised(points)[::-1]


CURSE = cursed(TWO)
LEARNING = losses(TWO, CURSED), losses(TWO, CURSED, train=2.0)
CASES = {
    # claim: (tables that support it, tables that contradict it); CURSE for all others
    "reversal_learned": LEARNING,
    "chain_learned": LEARNING,
    "reversal_logits_seen": (logits(9.0, 0.0), logits(1.0, 0.0)),
    "reversal_logits_unseen": (logits(9.0, 0.1), logits(9.0, 8.0)),
    "chain_logits_seen": (logits(9.0, 0.0, CHAIN), logits(1.0, 0.0, CHAIN)),
    "chain_logits_unseen": (logits(9.0, 0.1, CHAIN), logits(9.0, 8.0, CHAIN)),
    "embeddings_near_orthogonal": (embeddings(alike=False), embeddings(alike=True)),
    "in_context_reversal": generalised(TWO),
    "chain_related_inferred": generalised(TWO),
    "decay_breaks_curse": generalised(DECAYS),
    "printed_decay_learns": (losses(DECAYS, CURSED), losses(DECAYS, CURSED, train=2.0)),
    "bilinear_separation": (separation(BOUND), separation(dict.fromkeys(BOUND, 1.2))),
    "bilinear_exponent_shrinks": (separation(BOUND), separation({16: 0.1, 32: 0.2, 64: 0.3})),
    **{
        f"bilinear_first_passage_{name}": (
            separation(dict.fromkeys(BOUND, 0.0)),
            separation(dict.fromkeys(BOUND, 1.0)),
        )
        for name in ("1", "01", "001")
    },
    "diffusion_reverses": generalised(COMPARED),
    "autoregression_does_not": cursed(COMPARED),
    "relative_positions_needed": cursed(NO_RELATIVE),
    "absolute_positions_hurt": (by_position(CURSED, INFERRED), by_position(INFERRED, INFERRED)),
    "any_order_needed": cursed(ALL_ARMS),
    "masking_subject_transfers": generalised(ALL_ARMS),
    "masking_any_order": generalised(ALL_ARMS),
    "masking_any_order_far": generalised(ALL_ARMS),
    "masking_object_does_not": cursed(ALL_ARMS),
    "one_layer_seen_bound": (one_layer(exponent=0.9), one_layer(exponent=0.4)),
    "one_layer_seen_rate": (one_layer(exponent=0.98), one_layer(exponent=0.8)),
    "one_layer_unseen_bound": (one_layer(), one_layer(unseen_ratio=1.01)),
    "one_layer_chain_steps": (one_layer(), one_layer(exponent=0.5)),
    "one_layer_chain_bound": (one_layer(unseen_ratio=0.5), one_layer(unseen_ratio=2.0)),
    "one_layer_asymmetric": (weights(), weights(back=9.0)),
    "bilinear_asymmetric": (weights(), weights(back=9.0)),
    "one_layer_intransitive": (weights(), weights(leap=5.0)),
    "scores_closed_form": (attention(), attention(before=0.0)),
    "scores_closed_form_trend": (attention(), attention(before=0.5)),
    "scores_correlated_untrained": (attention(before=0.4), attention(before=-0.4)),
    "scores_correlated_either": (attention(after=0.4), attention(after=-0.4)),
    "scores_correlated_any_order": (attention(after=0.4), attention(after=-0.4)),
    "gradients_aligned": (gradients(), gradients(control=0.9)),
    "gradients_aligned_more": (by_encoding(0.9, 0.3), by_encoding(0.3, 0.9)),
    "gradients_not_aligned_gpt": (gradients(cosine=0.05), gradients()),
    "reverse_below_forward": (gradients(), gradients(reverse=0.5)),
    "forward_step_helps_reverse": (gradients(), gradients(change=0.01)),
    "forward_step_hurts_gpt": (gradients(change=0.01), gradients()),
    "first_order_predicts": (gradients(), gradients(actual=0.5)),
    "values_shared": (gradients(), gradients(control=0.9)),
    "values_shared_more": (gradients(), gradients(attention_cosine=0.9)),
    "pretrained_diffusion_reverses": (answers(True, False), answers(False, True)),
    "pretrained_causal_does_not": (answers(True, False), answers(False, True)),
    "pretrained_diffusion_ahead": (answers(True, False), answers(False, True)),
    "pretrained_reverse_below": (answers(True, False), answers(True, False, reverse_nll=0.05)),
    "pretrained_scores_correlated": (pretrained_scores(True), pretrained_scores(False)),
    "pretrained_gradients_aligned": (pretrained_gradients(), pretrained_gradients(control=0.9)),
    "pretrained_gradients_not_causal": (pretrained_gradients(), pretrained_gradients(causal=True)),
    "pretrained_first_order": (pretrained_gradients(error=0.02), pretrained_gradients(error=0.5)),
}
OF_A_SWEEP = [name for name, claim in CLAIMS.items() if not claim.pretrained]
PRETRAINED = [name for name, claim in CLAIMS.items() if claim.pretrained]


def verdict(claim: str, tables: dict) -> str:
    return judge(CLAIMS[claim], {name: tables[name] for name in CLAIMS[claim].tables}).verdict


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_is_supported_where_it_holds_contradicted_where_not_and_else_untested(claim):
    good, bad = CASES.get(claim, CURSE)
    result = judge(CLAIMS[claim], good)
    assert result.verdict == SUPPORTED
    assert result.n_seeds == SEEDS
    assert result.ci_low <= result.effect <= result.ci_high
    assert judge(CLAIMS[claim], bad).verdict == CONTRADICTED
    empty = judge(CLAIMS[claim], {name: table.clear() for name, table in good.items()})
    assert (empty.verdict, empty.reason[:5]) == (NOT_TESTED, "scale")


@pytest.mark.parametrize(
    ("claim", "tables"),
    [
        ("reversal_vocab", losses([point()], CURSED)),
        ("chain_layers", losses([point()], CURSED)),
        ("autoregression_does_not", losses(COMPARED[3:], CURSED)),
        ("absolute_positions_hurt", losses(COMPARED[:4], CURSED)),
        ("masking_subject_transfers", losses(ARMS[:1], CURSED)),
        ("masking_any_order_far", losses(ARMS, INFERRED)),
        ("masking_any_order", losses(FAR, INFERRED)),
        ("masking_object_does_not", losses(ARMS[:2], CURSED)),
        ("printed_decay_learns", losses(DECAYS[:1], CURSED)),
        ("reversal_weight_decay", losses(DECAYS, CURSED, train=2.0)),
        ("decay_breaks_curse", losses(DECAYS, INFERRED, train=2.0)),
        ("bilinear_exponent_shrinks", separation({16: 0.3, 32: 0.2})),
        ("one_layer_intransitive", {"weights": synthetic.weights(ONE_LAYER[:1])}),
        ("scores_correlated_either", {"attention": synthetic.attention(ROTARY[:2])}),
        ("gradients_aligned", gradients(COMPARED[:3])),
        ("gradients_not_aligned_gpt", gradients(COMPARED[3:])),
        *(
            (claim, losses(TWO, VOCABULARY, train=VOCABULARY))  # an untrained model is not cursed
            for claim in OF_A_SWEEP
            if claim not in CASES
        ),
    ],
)
def test_a_claim_without_what_its_effect_compares_is_not_tested(claim, tables):
    assert verdict(claim, tables) == NOT_TESTED


def test_a_pretrained_model_of_another_kind_or_that_did_not_learn_shows_nothing():
    tables = pretrained_gradients() | pretrained_scores(True)
    other = {n: t.with_columns(kind=pl.lit("masked_lm")) for n, t in tables.items()}
    unlearned = tables["pretrained_answers"].with_columns(exact=pl.lit(False))
    for claim in PRETRAINED:
        assert verdict(claim, other) == NOT_TESTED
        if claim != "pretrained_first_order":  # that is calculus, whatever was learned
            assert verdict(claim, tables | {"pretrained_answers": unlearned}) == NOT_TESTED
    steps = tables["pretrained_gradients"].with_columns(actual_change=pl.lit(None, pl.Float64))
    assert verdict("pretrained_first_order", {"pretrained_gradients": steps}) == NOT_TESTED


def test_a_point_that_was_not_learned_is_left_out_and_the_others_judged():
    def of(one: dict) -> tuple[float, float]:
        return (2.0, INFERRED) if one["layers"] == 4 else (LEARNED, CURSED)

    tables = {"metrics": metrics([*TWO, point(layers=4)], 0, 0, of)}
    assert verdict("reversal_layers", tables) == SUPPORTED


def test_right_answers_that_are_improbable_are_not_learned():
    low = metrics(DECAYS, 3.0, INFERRED).with_columns(accuracy=pl.lit(1.0, pl.Float32))
    assert verdict("decay_breaks_curse", {"metrics": low}) == NOT_TESTED


def test_a_point_that_diverged_leaves_its_claim_inconclusive():
    diverged = (pl.col("layers") == 2) & (pl.col("seed") == 1)
    table = metrics(TWO, LEARNED, CURSED).with_columns(
        pl.when(diverged).then(float("nan")).otherwise(pl.col(name)).cast(pl.Float32).alias(name)
        for name in ("nll_token", "nll_word")
    )
    assert verdict("reversal_layers", {"metrics": table}) == INCONCLUSIVE


def test_the_bound_says_nothing_before_its_right_hand_side_falls():
    slow = one_layer(exponent=0.9)["sentence_nll"].with_columns(learning_rate=pl.lit(1e-6))
    assert verdict("one_layer_seen_bound", {"sentence_nll": slow}) == NOT_TESTED


NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "expected", "median", "reaching"),
    [
        ([1.0, 1.1, 0.9], SUPPORTED, 1.0, 3),
        ([-1.0, -1.1, -0.9], CONTRADICTED, -1.0, 0),
        ([-4.0, 5.0, 4.0, -3.0], INCONCLUSIVE, 0.5, 2),  # though the mean is above 0
        ([0.1, -0.1, 0.0, 9.0], INCONCLUSIVE, 0.05, 3),
        ([1.0], INCONCLUSIVE, 1.0, 1),  # one seed decides nothing
        ([-1.0], INCONCLUSIVE, -1.0, 0),
        ([1.0, NAN, -1.0], INCONCLUSIVE, None, 1),  # nor do seeds of which one diverged
    ],
)
def test_the_verdict_follows_from_the_interval_over_seeds(values, expected, median, reaching):
    frame = pl.DataFrame({"seed": range(len(values)), "effect": values})
    claim = Claim("x", "P1", "s", "m", lambda tables: frame, 0.0, "b")
    found = judge(claim, losses(TWO, CURSED))
    assert found.verdict == expected
    assert found.median == pytest.approx(median)
    assert (found.n_reaching, found.n_seeds) == (reaching, len(values))


def test_the_interval_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(2.0, 1.0, size=400)
    expected = [2.0 - 1.96 / 20, 2.0 + 1.96 / 20]
    assert bootstrap_interval(values) == pytest.approx(expected, abs=0.12)


def test_every_claim_is_of_a_known_paper_and_says_why_its_threshold_is_what_it_is():
    assert all(re.match(r"\w+", claim.paper)[0] in PAPERS for claim in CLAIMS.values())
    assert all(claim.because for claim in CLAIMS.values())


def sweep_of(*points: Settings) -> Sweep:
    return Sweep({run_directory(settings): settings for settings in points}, {})


def two_values(claim: Claim, name: str) -> list:
    """Two values of a setting, of those that a claim allows."""
    default = DEFAULTS[name]
    if name in claim.where or choices(name):
        values = claim.where.get(name, choices(name))
        return [values[0], values[-1]]
    return [default, 2 * default if isinstance(default, int) else 0.9 * default]


def product(claim: Claim, names: tuple[str, ...]) -> list[Settings]:
    """Grid points that meet a claim's conditions, in the product of two values of some settings."""
    base = {**DEFAULTS, **{name: allowed[-1] for name, allowed in claim.where.items()}}
    lists = [two_values(claim, name) for name in names]
    return [settle(base | dict(zip(names, v, strict=True))) for v in itertools.product(*lists)]


@pytest.mark.parametrize("claim", OF_A_SWEEP)
def test_a_claim_is_judged_on_sweeps_that_vary_what_it_is_about_and_nothing_else(claim):
    claim = CLAIMS[claim]
    right = product(claim, claim.varies)
    chosen = select(claim, {"x": sweep_of(*right)})
    assert (list(chosen.points.values()), chosen.sweeps, chosen.reason) == (right, ("x",), "")
    for name in claim.may_vary:
        more = sweep_of(*product(claim, (*claim.varies, name)))
        assert select(claim, {"x": more}).sweeps == ("x",), name
    others = meaningful(vars(right[0])) - {*claim.varies, *claim.may_vary, *claim.where}
    for name in others - {"precision", "compile"}:
        wrong = {"x": sweep_of(*product(claim, (*claim.varies, name)))}
        chosen = select(claim, wrong)
        assert (chosen.points, chosen.sweeps) == ({}, ()), name
        assert chosen.reason.startswith("needs a sweep with ")
        both = select(claim, wrong | {"y": sweep_of(*right)})
        assert both.sweeps == ("y",), name
    for name in claim.varies:
        fewer = tuple(other for other in claim.varies if other != name)
        reason = select(claim, {"x": sweep_of(*product(claim, fewer))}).reason
        assert name in reason.split("only ")[1]
    task = "in_context" if claim.where.get("task") != ("in_context",) else "chain"
    elsewhere = sweep_of(settle({**DEFAULTS, "task": task, "family": "one_layer"}))
    assert select(claim, {"x": elsewhere}).reason.startswith("not in this config: no grid point")


def config_of(raw: dict) -> Config:
    settings = {"layers": 1, "heads": 1, "embed_dim": 8, "vocab_size": 20, "epochs": 10, "seeds": 5}
    return Config.parse({"defaults": settings, **raw})


def test_a_sweep_over_one_setting_judges_no_claim_on_another():
    sweeps = read_sweeps(config_of({"sweeps": {"reversal_frozen": {"dropout": [0.0, 0.1]}}}))
    reasons = {claim: select(CLAIMS[claim], sweeps).reason for claim in OF_A_SWEEP}
    assert all(reasons.values())
    assert claim_points(sweeps) == {}
    conditions = "needs a sweep with task reversal, family gpt and only"
    assert reasons["reversal_frozen"] == f"{conditions} freeze_embeddings varied"
    assert reasons["reversal_weight_decay"] == f"{conditions} weight_decay varied"
    assert "no grid point has task chain" in reasons["chain_frozen"]


def train_all(config: Config, results) -> None:
    """Finished runs of a config, that learned what they were trained on and nothing else."""
    write_runs(config, results, lambda one: metrics([one], LEARNED, CURSED))


def ledger(config: Config, tmp_path) -> tuple[pl.DataFrame, str]:
    paths = tmp_path / "claims.parquet", tmp_path / "claims.md"
    table = write_ledger(config, tmp_path, tmp_path, *paths)
    assert pl.read_parquet(paths[0]).equals(table)
    return table, paths[1].read_text()


FIGURES = {"reversal_curve": "curse", "vocabularies": {"plot": "curves", "sweep": "vocab"}}
RAW = {"sweeps": {"curse": {}, "vocab": {"vocab_size": [20, 40]}}, "figures": FIGURES}


def test_the_ledger_says_what_was_judged_on_what_and_why_the_rest_was_not(tmp_path):
    config = config_of(RAW)
    train_all(config, tmp_path)
    table, text = ledger(config, tmp_path)
    rows = {row["id"]: row for row in table.iter_rows(named=True)}
    assert rows["reversal_curse"]["verdict"] == rows["reversal_vocab"]["verdict"] == SUPPORTED
    assert rows["reversal_curse"]["figure"] == "reversal_curve"
    assert rows["reversal_vocab"]["figure"] == "vocabularies"
    assert rows["reversal_vocab"]["grid"].startswith("vocab: 2 grid points; vocab_size 20, 40")
    assert rows["reversal_layers"]["verdict"] == rows["chain_learned"]["verdict"] == NOT_TESTED
    assert "only layers varied" in rows["reversal_layers"]["reason"]
    assert rows["reversal_logits_seen"]["reason"] == "scale: no rows in logits"
    assert "no pretrained models" in rows[PRETRAINED[0]]["reason"]
    assert "epochs 10 (built in: 3000)" in text
    shown = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in shown)
    assert "[vocabularies](figures/vocabularies.pdf)" in text
    assert all(claim.statement in text and f"`{claim.id}`" in text for claim in CLAIMS.values())
    assert f"{SEEDS} of {SEEDS} seeds" in text


def test_names_of_sweeps_and_figures_change_no_verdict(tmp_path):
    train_all(config_of(RAW), tmp_path)
    renamed = {"sweeps": {"x": {}, "reversal_layers": {"vocab_size": [40, 20]}}}
    renamed["figures"] = {"chain_curve": "x", "reversal_frozen": "reversal_layers"}
    names = ("id", "verdict", "effect", "ci_low", "ci_high", "n_seeds")
    first, second = (
        evaluate(config_of(raw), tmp_path, tmp_path).select(names) for raw in (RAW, renamed)
    )
    assert first.equals(second)


def test_the_ledger_reads_pretrained_models_where_the_config_has_some(tmp_path):
    models = [{"name": name, "kind": kind, "path": "unread"} for name, kind in synthetic.PRETRAINED]
    config = config_of({"sweeps": {"a": {"task": "in_context"}}, "pretrained": models})
    train_all(config, tmp_path)
    for name, table in (pretrained_gradients() | pretrained_scores(True)).items():
        path = tmp_path / f"pretrained/{name.removeprefix('pretrained_')}.parquet"
        write_table(path, table, TABLES[name])
    table, text = ledger(config, tmp_path)
    found = table.filter(pl.col("id").is_in(PRETRAINED))
    assert set(found["verdict"]) == {SUPPORTED}
    assert set(found["grid"]) == {"pretrained: diffusion, causal"}
    assert all(figure.startswith("pretrained_") for figure in found["figure"])
    assert "## Pretrained models" in text


def test_a_missing_run_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"layers=1/.*no finished run of these settings"):
        evaluate(config_of(RAW), tmp_path, tmp_path)


@pytest.mark.parametrize("result", [CONTRADICTED, SUPPORTED, NOT_TESTED])
def test_a_remark_stands_under_a_claim_that_was_judged(result):
    texts = dict.fromkeys(("paper", "statement", "grid", "figure", "measures", "reason"), "")
    numbers = dict.fromkeys(("effect", "ci_low", "ci_high", "median"), None)
    counts = {"threshold": 0.0, "n_seeds": 0, "n_reaching": 0, "verdict": result}
    rows = [{"id": claim, **texts, **numbers, **counts} for claim in CLAIMS]
    text = page(config_of(RAW), TABLES["claims"].conform(pl.DataFrame(rows)))
    for claim in CLAIMS.values():
        assert (f"**{claim.id}**" in text) == (bool(claim.remark) and result != NOT_TESTED)


def test_a_statement_is_understood_without_its_neighbours():
    """`claims.parquet` is filtered and sorted: a row has none."""
    for claim in CLAIMS.values():
        first = claim.statement.split()[0]
        assert first not in ("It", "They", "So", "This", "These", "Such"), claim.id
        assert not re.search(r"\b(that|this|such a) (bound|step|model)\b", claim.statement)
        if claim.id in {c.id for c in mechanism.CLAIMS}:  # two families, opposite findings
            assert re.search("masked diffusion|autoregressive", claim.statement), claim.id
