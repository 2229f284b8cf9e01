"""Every claim can be supported, contradicted and untested: none passes by construction."""

from __future__ import annotations

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
)
from reversal_curse.claims.ledger import CLAIMS, claim_tables, evaluate, page, write_ledger
from reversal_curse.config import Config
from reversal_curse.errors import UserError
from reversal_curse.pretrained.entry import MEASURED
from reversal_curse.registry import PRETRAINED_FIGURES
from reversal_curse.tables import TABLES, aggregated, write_table

from . import synthetic
from .synthetic import point

SEEDS = 5
CLASS, VOCABULARY = math.log(20), math.log(82)


def metrics(points: list[dict], train: float, unseen: float, per_point=None) -> pl.DataFrame:
    """Final losses (nats) and accuracies exp(-loss); `per_point` maps a point to its own pair."""
    rows = [
        {**axes, "seed": seed, "epoch": epoch, "split": split, "nll_token": loss, "nll_word": loss}
        | {"accuracy": math.exp(-loss), "chance_class": CLASS, "chance_vocab": VOCABULARY}
        for axes in points
        for seed in range(SEEDS)
        for epoch in (0, 10)
        for split, final in zip(
            ("train", "unseen"), per_point(axes) if per_point else (train, unseen), strict=True
        )
        for loss in [VOCABULARY if epoch == 0 else final + 0.001 * seed]
    ]
    return aggregated(TABLES["metrics"]).conform(pl.DataFrame(rows))


def logits(seen: float, unseen: float, groups=("seen", "unseen")) -> pl.DataFrame:
    rows = [
        {**point(), "seed": seed, "group": group, "readout": "entity_relation"}
        | {"query": query, "candidate": candidate}
        | {"logit": height + 0.01 * seed if query == candidate else 0.0}
        for seed in range(SEEDS)
        for group, height in zip(groups, (seen, unseen), strict=True)
        for query in range(3)
        for candidate in range(3)
    ]
    return aggregated(TABLES["logits"]).conform(pl.DataFrame(rows))


def embeddings(alike: bool) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {**point(embed_dim=32), "seed": seed, "token": token, "role": "A", "position": token}
        | {"embedding": ((10.0 if alike else 0.0) + rng.normal(size=32)).tolist()}
        for seed in range(SEEDS)
        for token in range(12)
    ]
    return aggregated(TABLES["embeddings"]).conform(pl.DataFrame(rows))


def separation(exponents: dict[int, float], reverse: float = 6.0) -> pl.DataFrame:
    """Pairs for which the bound holds with equality at the given exponent per dimension."""
    rows = [
        {**point(embed_dim=d, vocab_size=80), "seed": seed, "pair": 0, "epoch": epoch}
        | {"nll_forward": 4 * ratio, "nll_reverse": reverse * ratio**exponent}
        for d, exponent in exponents.items()
        for seed in range(SEEDS)
        for epoch, ratio in enumerate((1.0, 0.2, 0.02, 0.002))
    ]
    return aggregated(TABLES["separation"]).conform(pl.DataFrame(rows))


TWO = [point(layers=1), point(layers=2)]
FAMILIES = [
    point(family=family, pos_encoding=encoding)
    for family in ("gpt", "masked_diffusion")
    for encoding in ("absolute", "rotary", "alibi")
]
ARMS = [
    point(family="masked_diffusion", masking=arm, pos_encoding="rotary")
    for arm in ("any_order", "subject", "object")
]
FAR = [{**arm, "distance": 3} for arm in ARMS]
EITHER = point(family="masked_diffusion", masking="either", pos_encoding="rotary")
LEARNED, CURSED, INFERRED = 0.001, 7.0, 0.02


NO_RELATIVE = [
    point(family="masked_diffusion", pos_encoding=encoding) for encoding in ("none", "absolute")
]


def absolute_differs(axes: dict) -> tuple[float, float]:
    return LEARNED, CURSED if axes["pos_encoding"] == "absolute" else INFERRED


def reversal_tables(unseen: float) -> dict:
    return {"metrics": metrics(TWO, LEARNED, unseen)}


CURSE = (reversal_tables(CURSED), reversal_tables(INFERRED))
LEARNING = (reversal_tables(CURSED), {"metrics": metrics(TWO, 2.0, CURSED)})
BOUND = {16: 0.3, 32: 0.2, 64: 0.1}
CASES = {
    # claim: (tables that support it, tables that contradict it)
    "reversal_learned": LEARNING,
    "chain_learned": LEARNING,
    "reversal_logits_seen": (
        {"logits": logits(9.0, 0.0)},
        {"logits": logits(1.0, 0.0)},
    ),
    "reversal_logits_unseen": (
        {"logits": logits(9.0, 0.1)},
        {"logits": logits(9.0, 8.0)},
    ),
    "embeddings_near_orthogonal": (
        {"embeddings": embeddings(alike=False)},
        {"embeddings": embeddings(alike=True)},
    ),
    "in_context_reversal": (reversal_tables(INFERRED), reversal_tables(CURSED)),
    "bilinear_separation": (
        {"separation": separation(BOUND)},
        {"separation": separation(dict.fromkeys(BOUND, 1.2))},
    ),
    "bilinear_exponent_shrinks": (
        {"separation": separation(BOUND)},
        {"separation": separation({16: 0.1, 32: 0.2, 64: 0.3})},
    ),
    **{
        f"bilinear_first_passage_{name}": (
            {"separation": separation(dict.fromkeys(BOUND, 0.0))},
            {"separation": separation(dict.fromkeys(BOUND, 1.0))},
        )
        for name in ("1", "01", "001")
    },
    "diffusion_reverses": (
        {"metrics": metrics(FAMILIES, LEARNED, INFERRED)},
        {"metrics": metrics(FAMILIES, LEARNED, CURSED)},
    ),
    "autoregression_does_not": (
        {"metrics": metrics(FAMILIES, LEARNED, CURSED)},
        {"metrics": metrics(FAMILIES, LEARNED, INFERRED)},
    ),
    "relative_positions_needed": (
        {"metrics": metrics(NO_RELATIVE, LEARNED, CURSED)},
        {"metrics": metrics(NO_RELATIVE, LEARNED, INFERRED)},
    ),
    "any_order_needed": (
        {"metrics": metrics([*ARMS, EITHER], LEARNED, CURSED)},
        {"metrics": metrics([*ARMS, EITHER], LEARNED, INFERRED)},
    ),
    "absolute_positions_hurt": (
        {"metrics": metrics(FAMILIES, 0, 0, absolute_differs)},
        {"metrics": metrics(FAMILIES, LEARNED, INFERRED)},
    ),
    "masking_subject_transfers": (
        {"metrics": metrics(ARMS, LEARNED, INFERRED)},
        {"metrics": metrics(ARMS, LEARNED, CURSED)},
    ),
    "masking_any_order": (
        {"metrics": metrics(ARMS, LEARNED, INFERRED)},
        {"metrics": metrics(ARMS, LEARNED, CURSED)},
    ),
    "masking_any_order_far": (
        {"metrics": metrics([*ARMS, *FAR], LEARNED, INFERRED)},
        {"metrics": metrics([*ARMS, *FAR], LEARNED, CURSED)},
    ),
    "masking_object_does_not": (
        {"metrics": metrics(ARMS, LEARNED, CURSED)},
        {"metrics": metrics(ARMS, LEARNED, INFERRED)},
    ),
}


ONE_LAYER = [point(family="one_layer", task=task, vocab_size=80) for task in ("reversal", "chain")]
WEIGHTS = [*ONE_LAYER, point(family="bilinear", embed_dim=256)]
ROTARY = [
    point(family="masked_diffusion", task="facts", pos_encoding="rotary", embed_dim=64)
    | {"heads": heads, "distance": distance, "masking": masking}
    for masking in ("any_order", "either")
    for heads in (1, 4)
    for distance in (1, 3, 9)
]
DECAYS = [point(variant="default"), point(variant="printed_decay")]
CHAIN_GROUPS = ("validation_a_to_b", "validation_a_to_c")


def one_layer(**values) -> dict:
    return {"sentence_nll": synthetic.sentence_nll(ONE_LAYER, seeds=SEEDS, **values)}


def weights(**values) -> dict:
    return {"weights": synthetic.weights(WEIGHTS, seeds=SEEDS, **values)}


def attention(**values) -> dict:
    return {"attention": synthetic.attention(ROTARY, seeds=SEEDS, **values)}


def gradients(**values) -> dict:
    return {"gradients": synthetic.gradients(FAMILIES, seeds=SEEDS, **values)}


def of_encoding(encoding: str, cosine: float) -> pl.DataFrame:
    points = [one for one in FAMILIES if one["pos_encoding"] == encoding]
    return synthetic.gradients(points, seeds=SEEDS, cosine=cosine)


LOW = {"unseen_ratio": 0.5}
CASES |= {
    "chain_logits_seen": (
        {"logits": logits(9.0, 0.0, CHAIN_GROUPS)},
        {"logits": logits(1.0, 0.0, CHAIN_GROUPS)},
    ),
    "chain_logits_unseen": (
        {"logits": logits(9.0, 0.1, CHAIN_GROUPS)},
        {"logits": logits(9.0, 8.0, CHAIN_GROUPS)},
    ),
    "decay_breaks_curse": (
        {"metrics": metrics(DECAYS, LEARNED, INFERRED)},
        {"metrics": metrics(DECAYS, LEARNED, CURSED)},
    ),
    "printed_decay_learns": (
        {"metrics": metrics(DECAYS, LEARNED, CURSED)},
        {"metrics": metrics(DECAYS, 2.0, CURSED)},
    ),
    "one_layer_seen_bound": (one_layer(exponent=0.9), one_layer(exponent=0.4)),
    "one_layer_seen_rate": (one_layer(exponent=0.98), one_layer(exponent=0.8)),
    "one_layer_unseen_bound": (one_layer(), one_layer(unseen_ratio=1.01)),
    "one_layer_chain_steps": (one_layer(), one_layer(exponent=0.5)),
    "one_layer_chain_bound": (one_layer(**LOW), one_layer(unseen_ratio=2.0)),
    "one_layer_asymmetric": (weights(), weights(back=9.0)),
    "bilinear_asymmetric": (weights(), weights(back=9.0)),
    "one_layer_intransitive": (weights(), weights(leap=5.0)),
    "scores_closed_form": (attention(), attention(before=0.0)),
    "scores_correlated_untrained": (attention(before=0.4), attention(before=-0.4)),
    "scores_correlated_either": (attention(after=0.4), attention(after=-0.4)),
    "scores_correlated_any_order": (attention(after=0.4), attention(after=-0.4)),
    "gradients_aligned": (gradients(), gradients(control=0.9)),
    "gradients_aligned_more": (
        {"gradients": pl.concat([of_encoding("rotary", 0.9), of_encoding("absolute", 0.3)])},
        {"gradients": pl.concat([of_encoding("rotary", 0.3), of_encoding("absolute", 0.9)])},
    ),
    "reverse_below_forward": (gradients(), gradients(reverse=0.5)),
    "scores_closed_form_trend": (attention(), attention(before=0.5)),
    "chain_related_inferred": (reversal_tables(INFERRED), reversal_tables(CURSED)),
    "gradients_not_aligned_gpt": (gradients(cosine=0.05), gradients()),
    "forward_step_helps_reverse": (gradients(), gradients(change=0.01)),
    "forward_step_hurts_gpt": (gradients(change=0.01), gradients()),
    "first_order_predicts": (gradients(), gradients(actual=0.5)),
    "values_shared": (gradients(), gradients(control=0.9)),
    "values_shared_more": (gradients(), gradients(attention_cosine=0.9)),
}


def pretrained(diffusion: bool, causal: bool, **values) -> dict:
    reverses = {"masked_diffusion": diffusion, "causal": causal}
    return {"answers": synthetic.answers(reverses, seeds=SEEDS, **values)}


def pretrained_gradients(diffusion: bool, causal: bool, error: float = 0.0) -> dict:
    aligned = {"masked_diffusion": diffusion, "causal": causal}
    table = synthetic.pretrained_gradients(aligned, error, seeds=SEEDS)
    return {"gradients": table, **pretrained(diffusion, causal)}


def pretrained_scores(correlated: bool) -> dict:
    return {"scores": synthetic.scores(correlated, seeds=SEEDS), **pretrained(True, False)}


CASES |= {
    "pretrained_diffusion_reverses": (pretrained(True, False), pretrained(False, True)),
    "pretrained_causal_does_not": (pretrained(True, False), pretrained(False, True)),
    "pretrained_diffusion_ahead": (pretrained(True, False), pretrained(False, True)),
    "pretrained_reverse_below": (
        pretrained(True, False),
        pretrained(True, False, reverse_nll=0.05),
    ),
    "pretrained_scores_correlated": (pretrained_scores(True), pretrained_scores(False)),
    "pretrained_gradients_aligned": (
        pretrained_gradients(True, False),
        pretrained_gradients(True, False)
        | {
            "gradients": pretrained_gradients(True, False)["gradients"].with_columns(
                cosine_control=pl.lit(0.9, pl.Float32)
            )
        },
    ),
    "pretrained_gradients_not_causal": (
        pretrained_gradients(True, False),
        pretrained_gradients(True, True),
    ),
    "pretrained_first_order": (
        pretrained_gradients(True, False, error=0.02),
        pretrained_gradients(True, False, error=0.5),
    ),
}


def case(claim: str) -> tuple[dict, dict]:
    return CASES.get(claim, CURSE)


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_is_supported_where_it_holds(claim):
    result = judge(CLAIMS[claim], case(claim)[0])
    assert result.verdict == SUPPORTED
    assert result.n_seeds == SEEDS
    assert result.ci_low <= result.effect <= result.ci_high


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_is_contradicted_where_it_does_not_hold(claim):
    assert judge(CLAIMS[claim], case(claim)[1]).verdict == CONTRADICTED


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_without_its_figure_or_rows_is_not_tested(claim):
    assert judge(CLAIMS[claim], None).verdict == NOT_TESTED
    empty = {name: table.clear() for name, table in case(claim)[0].items()}
    assert judge(CLAIMS[claim], empty).verdict == NOT_TESTED


@pytest.mark.parametrize(
    ("claim", "table"),
    [
        ("reversal_vocab", metrics([point()], LEARNED, CURSED)),
        ("chain_layers", metrics([point()], LEARNED, CURSED)),
        ("diffusion_reverses", metrics([point()], LEARNED, CURSED)),
        ("autoregression_does_not", metrics(FAMILIES[3:], LEARNED, CURSED)),
        ("absolute_positions_hurt", metrics(FAMILIES[:4], LEARNED, CURSED)),
        ("masking_subject_transfers", metrics(ARMS[:1], LEARNED, CURSED)),
        ("masking_any_order_far", metrics(ARMS, LEARNED, INFERRED)),
        ("masking_any_order", metrics(FAR, LEARNED, INFERRED)),
        ("masking_object_does_not", metrics(ARMS[:2], LEARNED, CURSED)),
        ("printed_decay_learns", metrics(DECAYS[:1], LEARNED, CURSED)),
        ("reversal_weight_decay", metrics(DECAYS, 2.0, CURSED)),
        ("decay_breaks_curse", metrics(DECAYS, 2.0, INFERRED)),
    ],
)
def test_a_claim_whose_grid_points_were_not_run_is_not_tested(claim, table):
    assert judge(CLAIMS[claim], {"metrics": table}).verdict == NOT_TESTED


# Claims on whatever their figure's sweep holds: any grid point will do for them.
OF_ANY_POINT = {"reversal_learned", "reversal_curse", "reversal_logits_seen"} | {
    *("reversal_logits_unseen", "embeddings_near_orthogonal", "chain_learned"),
    *("chain_not_inferred", "chain_logits_seen", "chain_logits_unseen", "in_context_reversal"),
    *("chain_related_inferred", "bilinear_separation", "bilinear_exponent_shrinks"),
    *(f"bilinear_first_passage_{name}" for name in ("1", "01", "001")),
}


OF_A_SWEEP = [name for name, claim in CLAIMS.items() if claim.figure not in PRETRAINED_FIGURES]


@pytest.mark.parametrize("claim", [name for name in OF_A_SWEEP if name not in OF_ANY_POINT])
def test_a_claim_on_grid_points_of_another_kind_is_not_tested(claim):
    other = {
        name: pl.lit("other").alias(name)
        for name in ("task", "family", "pos_encoding", "masking", "variant", "settings")
    }
    tables = {
        name: table.with_columns(**other).filter(
            pl.struct("layers", "heads", "distance")
            == pl.struct("layers", "heads", "distance").first()
        )
        for name, table in case(claim)[0].items()
    }
    assert not any(table.is_empty() for table in tables.values())
    assert judge(CLAIMS[claim], tables).verdict == NOT_TESTED


@pytest.mark.parametrize(
    ("claim", "table"),
    [
        ("one_layer_unseen_bound", synthetic.sentence_nll(ONE_LAYER[1:])),
        ("one_layer_chain_bound", synthetic.sentence_nll(ONE_LAYER[:1])),
        ("bilinear_asymmetric", synthetic.weights(ONE_LAYER)),
        ("one_layer_intransitive", synthetic.weights(ONE_LAYER[:1])),
        ("scores_correlated_either", synthetic.attention(ROTARY[:2])),
        ("scores_correlated_any_order", synthetic.attention([point(pos_encoding="absolute")])),
        ("gradients_aligned", synthetic.gradients(FAMILIES[:3])),
        ("gradients_not_aligned_gpt", synthetic.gradients(FAMILIES[3:])),
        ("values_shared_more", synthetic.gradients([FAMILIES[5]])),
    ],
)
def test_a_claim_on_a_probe_whose_grid_points_were_not_run_is_not_tested(claim, table):
    (name,) = CLAIMS[claim].tables
    assert judge(CLAIMS[claim], {name: table}).verdict == NOT_TESTED


@pytest.mark.parametrize("claim", [name for name in CLAIMS if name not in OF_A_SWEEP])
def test_a_claim_on_pretrained_models_of_another_kind_is_not_tested(claim):
    other = pl.lit("masked_lm").alias("kind")
    tables = {name: table.with_columns(other) for name, table in case(claim)[0].items()}
    assert judge(CLAIMS[claim], tables).verdict == NOT_TESTED


def test_a_pretrained_model_that_did_not_learn_the_forward_facts_shows_no_curse():
    tables = pretrained_gradients(True, False) | pretrained_scores(True)
    tables["answers"] = tables["answers"].with_columns(exact=pl.lit(False))
    for claim in (name for name in CLAIMS if name not in OF_A_SWEEP):
        if claim != "pretrained_first_order":  # that is calculus, whatever was learned
            needed = {name: tables[name] for name in CLAIMS[claim].tables}
            assert judge(CLAIMS[claim], needed).verdict == NOT_TESTED


def test_a_step_that_was_not_measured_tests_nothing():
    table = pretrained_gradients(True, False)["gradients"]
    table = table.with_columns(actual_change=pl.lit(None, pl.Float64))
    assert judge(CLAIMS["pretrained_first_order"], {"gradients": table}).verdict == NOT_TESTED


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if case(claim) is CURSE])
def test_an_untrained_model_shows_no_curse(claim):
    untrained = metrics(TWO, VOCABULARY, VOCABULARY)
    assert judge(CLAIMS[claim], {"metrics": untrained}).verdict == NOT_TESTED


def test_a_point_that_was_not_learned_is_left_out_and_the_others_judged():
    three = [*TWO, point(layers=4)]

    def losses(axes: dict) -> tuple[float, float]:
        return (2.0, INFERRED) if axes["layers"] == 4 else (LEARNED, CURSED)

    tables = {"metrics": metrics(three, 0, 0, losses)}
    assert judge(CLAIMS["reversal_layers"], tables).verdict == SUPPORTED


def test_right_answers_that_are_improbable_are_not_learned():
    low = metrics(DECAYS, 3.0, INFERRED).with_columns(accuracy=pl.lit(1.0, pl.Float32))
    assert judge(CLAIMS["decay_breaks_curse"], {"metrics": low}).verdict == NOT_TESTED


def test_a_point_that_diverged_leaves_its_claim_inconclusive():
    table = metrics(TWO, LEARNED, CURSED)
    diverged = (pl.col("layers") == 2) & (pl.col("seed") == 1)
    nan = pl.when(diverged).then(float("nan"))
    table = table.with_columns(
        nan.otherwise(pl.col(name)).cast(pl.Float32).alias(name)
        for name in ("nll_token", "nll_word")
    )
    assert judge(CLAIMS["reversal_layers"], {"metrics": table}).verdict == INCONCLUSIVE


def test_the_bound_says_nothing_before_its_right_hand_side_falls():
    slow = synthetic.sentence_nll(ONE_LAYER, exponent=0.9)
    slow = slow.with_columns(learning_rate=pl.lit(1e-6))
    assert judge(CLAIMS["one_layer_seen_bound"], {"sentence_nll": slow}).verdict == NOT_TESTED


def test_a_trend_needs_several_dimensions():
    table = {"separation": separation({16: 0.3, 32: 0.2})}
    assert judge(CLAIMS["bilinear_exponent_shrinks"], table).verdict == NOT_TESTED


def of_values(values: list[float]) -> Claim:
    frame = pl.DataFrame({"seed": range(len(values)), "effect": values})
    return Claim("x", "P1", "s", "reversal_curve", "m", lambda tables: frame, 0.0, "b")


def test_the_verdict_follows_from_the_interval_and_not_from_the_mean():
    some = {"metrics": metrics(TWO, 0, 0)}
    assert judge(of_values([1.0, 1.1, 0.9]), some).verdict == SUPPORTED
    assert judge(of_values([-1.0, -1.1, -0.9]), some).verdict == CONTRADICTED
    wide = judge(of_values([-4.0, 5.0, 4.0, -3.0]), some)
    assert wide.verdict == INCONCLUSIVE
    assert wide.effect > 0


def test_one_seed_decides_nothing():
    some = {"metrics": metrics(TWO, 0, 0)}
    for value in (1.0, -1.0):
        assert judge(of_values([value]), some).verdict == INCONCLUSIVE


def test_beside_the_mean_stand_the_median_and_the_seeds_that_reach_the_threshold():
    some = {"metrics": metrics(TWO, 0, 0)}
    result = judge(of_values([0.1, -0.1, 0.0, 9.0]), some)
    assert (result.median, result.n_reaching, result.n_seeds) == (pytest.approx(0.05), 3, 4)
    diverged = judge(of_values([1.0, float("nan"), -1.0]), some)
    assert (diverged.median, diverged.n_reaching, diverged.n_seeds) == (None, 1, 3)


def test_a_diverged_seed_leaves_a_claim_inconclusive():
    result = judge(of_values([1.0, float("nan"), 1.0]), {"metrics": metrics(TWO, 0, 0)})
    assert result.verdict == INCONCLUSIVE
    assert result.effect is None


def test_the_interval_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(2.0, 1.0, size=400)
    low, high = bootstrap_interval(values)
    assert low == pytest.approx(2.0 - 1.96 / 20, abs=0.12)
    assert high == pytest.approx(2.0 + 1.96 / 20, abs=0.12)


def test_there_are_claims_on_both_papers_with_names_of_their_own():
    assert len(CLAIMS) >= 20
    assert {claim.paper[:2] for claim in CLAIMS.values()} == {"P1", "P2"}
    assert all(claim.because for claim in CLAIMS.values())


CONFIG = {
    "defaults": {"layers": 1, "epochs": 10},
    "sweeps": [{"name": "a", "layers": [1, 2]}],
    "figures": {"reversal_curve": "a", "reversal_vocab": "a"},
}


def test_the_ledger_is_written_from_tables_and_says_what_differs_from_the_paper(tmp_path):
    config = Config.parse(CONFIG)
    assert claim_tables(config) == ["sweeps/a/metrics.parquet"]
    path = tmp_path / "sweeps/a/metrics.parquet"
    write_table(path, metrics(TWO, LEARNED, CURSED), aggregated(TABLES["metrics"]))
    table = write_ledger(config, tmp_path, tmp_path / "c.parquet", tmp_path / "c.md")
    assert pl.read_parquet(tmp_path / "c.parquet").equals(table)
    verdicts = dict(table.select("id", "verdict").iter_rows())
    assert verdicts["reversal_curse"] == verdicts["reversal_vocab"] == SUPPORTED
    assert verdicts["chain_learned"] == NOT_TESTED
    text = (tmp_path / "c.md").read_text()
    assert "epochs 10 (built in: 3000)" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)
    assert "[reversal_curve](figures/reversal_curve.pdf)" in text
    assert "a: 2 grid points; layers 1, 2" in text
    assert all(claim.statement in text for claim in CLAIMS.values())
    assert all(f"`{claim.id}`" in text for claim in CLAIMS.values())
    assert f"{SEEDS} of {SEEDS} seeds" in text


def test_the_ledger_reads_pretrained_models_where_the_config_has_some(tmp_path):
    models = [{"name": name, "kind": kind, "path": "unread"} for name, kind in synthetic.PRETRAINED]
    config = Config.parse({"sweeps": [{"name": "a"}], "pretrained": models})
    assert claim_tables(config) == [f"pretrained/{name}.parquet" for name in sorted(MEASURED)]
    for tables in (pretrained(True, False), pretrained_scores(True)):
        for name, table in tables.items():
            path = tmp_path / f"pretrained/{name}.parquet"
            write_table(path, table, TABLES[f"pretrained_{name}"])
    table = pretrained_gradients(True, False)["gradients"]
    write_table(tmp_path / "pretrained/gradients.parquet", table, TABLES["pretrained_gradients"])
    found = write_ledger(config, tmp_path, tmp_path / "c.parquet", tmp_path / "c.md")
    of_pretrained = found.filter(pl.col("figure").str.starts_with("pretrained"))
    assert of_pretrained["verdict"].to_list() == [SUPPORTED] * 8
    assert set(of_pretrained["grid"]) == {"pretrained: diffusion, causal"}
    assert "## Pretrained models" in (tmp_path / "c.md").read_text()


def test_a_note_stands_under_a_claim_that_is_not_borne_out():
    config = Config.parse(CONFIG)
    table = TABLES["claims"].conform(
        pl.DataFrame(
            [
                {"id": claim.id, "paper": "", "statement": "", "grid": "", "figure": ""}
                | {"measures": "", "threshold": 0.0, "effect": None, "ci_low": None}
                | {"ci_high": None, "median": None, "n_seeds": 0, "n_reaching": 0}
                | {"verdict": CONTRADICTED}
                for claim in CLAIMS.values()
            ]
        )
    )
    text = page(config, table)
    for claim in CLAIMS.values():
        assert (f"**{claim.id}**" in text) == bool(claim.note or claim.remark)
    supported = page(config, table.with_columns(verdict=pl.lit(SUPPORTED)))
    for claim in CLAIMS.values():
        assert (f"**{claim.id}**" in supported) == bool(claim.remark)
    untested = page(config, table.with_columns(verdict=pl.lit(NOT_TESTED)))
    assert not any(f"**{claim.id}**" in untested for claim in CLAIMS.values())


def test_a_statement_is_understood_without_its_neighbours():
    """`claims.parquet` is filtered and sorted: a row has none."""
    for claim in CLAIMS.values():
        first = claim.statement.split()[0]
        assert first not in ("It", "They", "So", "This", "These", "Such"), claim.id
        assert not re.search(r"\b(that|this|such a) (bound|step|model)\b", claim.statement), (
            claim.id
        )
        if claim.id in {c.id for c in mechanism.CLAIMS}:  # two families, opposite findings
            assert re.search("masked diffusion|autoregressive", claim.statement), claim.id


def test_a_missing_table_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"sweeps/a/metrics.parquet: no such file"):
        evaluate(Config.parse(CONFIG), tmp_path)
