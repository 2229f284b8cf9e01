"""Synthetic tables of grid points, as plots and claims read them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl

from reversal_curse.config.file import Config
from reversal_curse.config.grid import describe, read_sweeps, run_directory
from reversal_curse.config.settings import DEFAULTS, NAMES, settings_of, settle
from reversal_curse.figures.logits import LAYOUTS as LOGITS
from reversal_curse.tables.files import settings_frame, write_table
from reversal_curse.tables.run_files import table_files
from reversal_curse.tables.schemas import TABLES
from reversal_curse.tables.summaries import rotary_correlation
from small_runs import write_run_record

LAYOUTS = ("forward", "reverse")
GROUPS = ("all", "attention", "values", "mlp", "embeddings", "head", "norms")
PRETRAINED = (("diffusion", "masked_diffusion"), ("causal", "causal"))

CHOICE = {"echo": 0.0, "nll_choice": 1.8, "accuracy_choice": 0.2, "rank_choice": 0.5}
CHOICE |= {"nll_set": 1.0, "candidates": 6.0, "chance_choice": 1.79, "chance_accuracy": 1 / 6}
"""What `metrics` says of a model that guesses among six candidates."""


def point(**given) -> dict:
    """Return the settings of a grid point by name, None for those that do not apply."""
    return settle({**DEFAULTS, **given}).described()


def gathered(name: str, rows: list[dict]) -> pl.DataFrame:
    """Return a table of grid points; rows have the values of a `point` and the table's own."""
    schema = {"run": pl.String, **TABLES[name].schema}
    keys = [tuple(row[n] for n in NAMES) for row in rows]
    settings = {key: settings_of(row) for key, row in dict(zip(keys, rows, strict=True)).items()}
    runs = {key: run_directory(one) for key, one in settings.items()}
    points = {runs[key]: one for key, one in settings.items()}
    labels = describe({run: one.described() for run, one in points.items()})
    own = {n: [row[n] for row in rows] for n in TABLES[name].schema}
    own["run"] = [runs[key] for key in keys]
    frame = pl.DataFrame(own, schema_overrides=schema, strict=False).select(list(schema))
    return frame.join(settings_frame(points, labels), on="run", how="left", maintain_order="left")


def write_runs(config: Config, results: Path, metrics: Callable[[dict], pl.DataFrame]) -> None:
    """Write finished runs with the `metrics` of each point; tables of probes are empty."""
    for sweep in read_sweeps(config).values():
        for run, settings in sweep.points.items():
            folder, own = results / "runs" / run, settings.described()
            for name in table_files(settings):
                table = TABLES[name.removesuffix(".parquet")]
                frame = metrics(own) if table.name == "metrics" else table.empty()
                write_table(folder / name, table.conform(frame), table)
            write_run_record(folder, settings)


def logits(points: list[dict], seen=9.0, unseen=9.0, seeds=3) -> pl.DataFrame:
    """Make right answers that stand out from the others by `seen`, or by `unseen` if held out."""
    rows = [
        {**axes, "seed": seed, "group": group, "readout": readout}
        | {"query": query, "candidate": candidate}
        | {"logit": height + 0.01 * seed if query == candidate else 0.0}
        for axes, seed in product(points, range(seeds))
        for part in LOGITS.get(axes["task"], LOGITS["reversal"]).values()
        for group, readout in product(part, ("entity", "entity_relation"))
        for height in [unseen if group in ("unseen", "validation_a_to_c") else seen]
        for query, candidate in product(range(4), range(4))
    ]
    return gathered("logits", rows)


def embeddings(points: list[dict], mean=0.0, seeds=2) -> pl.DataFrame:
    """Make random directions around a `mean`."""
    rng, roles = np.random.default_rng(0), ("relation", "A", "B", "unused")
    rows = [
        {**axes, "seed": seed, "token": token, "role": roles[token // 4], "position": token % 4}
        | {"embedding": (mean + rng.normal(size=axes["embed_dim"])).tolist()}
        for axes, seed, token in product(points, range(seeds), range(16))
    ]
    return gathered("embeddings", rows)


def separation(points: list[dict], *exponents: float, seeds=2) -> pl.DataFrame:
    """Make losses for which the bound is an equality, at each point with an exponent of its own."""
    rows = [
        {**axes, "seed": seed, "pair": pair, "epoch": epoch}
        | {"nll_forward": 4 * ratio, "nll_reverse": 6 * ratio**exponent}
        for axes, exponent in zip(points, exponents or [0.1] * len(points), strict=True)
        for seed, pair in product(range(seeds), (0, 1))
        for epoch, ratio in enumerate((1.0, 0.2, 0.02, 0.002))
    ]
    return gathered("separation", rows)


def chain_of_thought(points: list[dict], right=True, seeds=2) -> pl.DataFrame:
    """Make triples whose two steps become `right`, and whose leap does if it is trained."""
    rows = [
        {**axes, "seed": seed, "epoch": epoch, "pair": pair, "pair_split": split}
        | {"steps": right and epoch > 0, "leap": epoch > 0 and split == "train"}
        for axes, seed, epoch in product(points, range(seeds), (0, 1, 8))
        for pair, split in enumerate(("train", "train", "validation", "validation"))
    ]
    return gathered("chain_of_thought", rows)


def asymmetry(points: list[dict], seeds=2) -> pl.DataFrame:
    rows = [
        {**axes, "seed": seed, "epoch": epoch, "pair": pair}
        | {"contrast_seen": 4.0 + seed if epoch else 1.0, "contrast_unseen": 0.0 if epoch else 1.0}
        for axes, seed, epoch, pair in product(points, range(seeds), (0, 1, 8), range(2))
    ]
    return gathered("asymmetry", rows)


def sentence_nll(points: list[dict], exponent=1.0, unseen_ratio=1.0, seeds=2) -> pl.DataFrame:
    """Make seen answers that equal the bound at `exponent`, and unseen ones with p = ratio / M."""
    m, rate = 82, 0.5
    rows = [
        {**axes, "seed": seed, "epoch": epoch, "pair": 0, "pair_split": "validation"}
        | {"direction": direction, "split": split, "tokens": m, "learning_rate": rate}
        | {"nll": -np.log(p)}
        for axes, seed, epoch in product(points, range(seeds), (0, 100, 1000))
        for direction, split, p in (
            ("forward", "train", max(1 - (m - 1) * (m * rate * max(epoch, 1)) ** -exponent, 1e-9)),
            ("backward", "unseen", unseen_ratio / m),
        )
    ]
    return gathered("sentence_nll", rows)


def weights(points: list[dict], back=0.0, leap=0.0, seeds=2) -> pl.DataFrame:
    """Make trained links of weight 10, links from B to A of `back` and from A to C of `leap`."""
    links = {"AB": 10.0, "BC": 10.0, "BA": back, "AC": leap}
    rows = [
        {**axes, "seed": seed, "pair_split": "train" if i < 2 else "validation"}
        | {"source_role": a, "source": i, "target_role": b, "target": j}
        | {"weight": links.get(a + b, 0.0) + 0.01 * seed if i == j and a != b else 0.0}
        for axes, seed in product(points, range(seeds))
        for a, b in product("ABC" if axes["task"] == "chain" else "AB", repeat=2)
        for i, j in product(range(4), repeat=2)
    ]
    return gathered("weights", rows)


def attention(points: list[dict], before=None, after=0.5, stored=0.9, seeds=2) -> pl.DataFrame:
    """Make scores of four facts that correlate as given; `before` defaults to the closed form."""
    rows = [
        {**axes, "seed": seed, "epoch": epoch, "layer": 0, "head": 0, "pair": fact}
        | {"displacement": shift, "rotated": size, "score_forward": x}
        | {"score_reverse": r * x + np.sqrt(max(0, 1 - r**2)) * y}
        | {f"weight_{layout}": 0.5 for layout in LAYOUTS}
        | {f"value_margin_{layout}": 1.0 for layout in LAYOUTS}
        | {f"value_rank_{layout}": stored for layout in LAYOUTS}
        for axes, seed in product(points, range(seeds))
        for shift, size in [((axes["distance"] or 1) + 1, axes["embed_dim"] // axes["heads"])]
        for epoch, given in ((0, before), (8, after))
        for r in [rotary_correlation(shift, size) if given is None else given]
        for fact, (x, y) in enumerate(product((1.0, -1.0), repeat=2))  # x and y do not correlate
    ]
    return gathered("attention", rows)


def gradients(points: list[dict], attention_cosine=0.4, seeds=2) -> pl.DataFrame:
    """Make gradients with one cosine in all groups but attention; steps do what is predicted."""
    rows = [
        {**axes, "seed": seed, "epoch": epoch, "group": group}
        | {"cosine": attention_cosine if group == "attention" else 0.8 + 0.001 * seed}
        | {"cosine_control": 0.0, "nll_forward": 1.0, "nll_reverse": 2.0 if epoch == 8 else 0.5}
        | {"predicted_change": -0.01, "actual_change": -0.01}
        for axes, seed, epoch, group in product(points, range(seeds), (0, 1, 8), GROUPS)
    ]
    return gathered("gradients", rows)


def _pretrained(name: str, rows: list[dict]) -> pl.DataFrame:
    table = TABLES[f"pretrained_{name}"]
    return table.conform(pl.DataFrame(rows, schema_overrides=table.schema))


def _states(seeds: int) -> list[dict]:
    return [
        {"model": model, "arm": "none", "kind": kind, "seed": seed, "stage": stage}
        for model, kind in PRETRAINED
        for stage, runs in (("before", 1), ("after", seeds))
        for seed in range(runs)
    ]


def answers(reverses: dict[str, bool], reverse_nll=0.5, seeds=3) -> pl.DataFrame:
    """Make answers to learned forward facts; `reverses` tells which kinds know the reverse."""
    rows = [
        {**state, "direction": direction, "fact": fact, "relation": fact % 2, "tokens": 2}
        | CHOICE
        | ({"nll_choice": 0.1, "accuracy_choice": 1.0, "rank_choice": 1.0} if known else {})
        | {"nll": (nll if known else 10.0) + 0.01 * state["seed"], "exact": known, "chance": 11.0}
        | {"nll_shuffled": 10.0 + 0.01 * state["seed"]}
        for state in _states(seeds)
        for direction, nll, learned in (
            ("forward", 0.1, True),
            ("reverse", reverse_nll, reverses[state["kind"]]),
        )
        for known in [state["stage"] == "after" and learned]
        for fact in range(8)
    ]
    return _pretrained("answers", rows)


def scores(correlated: bool, seeds=3) -> pl.DataFrame:
    """Make scores of 24 facts in two relations that differ in their means."""
    rng = np.random.default_rng(0)
    states = [state for state in _states(seeds) if state["kind"] != "causal"]
    rows = []
    for state, layer, head in product(states, range(2), range(2)):
        forward, other = rng.normal(size=(2, 24))
        reverse = forward + 0.1 * other if correlated else other
        rows += [
            {**state, "layer": layer, "head": head, "fact": fact, "relation": fact % 2}
            | {"tokens": 2, "displacement_forward": 4, "displacement_reverse": -4}
            | {"score_forward": forward[fact] + 9 * (fact % 2)}
            | {"score_reverse": reverse[fact] + 9 * (fact % 2)}
            for fact in range(24)
        ]
    return _pretrained("scores", rows)


def pretrained_gradients(aligned: dict[str, bool], seeds=3) -> pl.DataFrame:
    """Make cosines by kind of model; steps do what is predicted, except for 2 %."""
    rows = [
        {**state, "group": group, "cosine": 0.8 if aligned[state["kind"]] else 0.0}
        | {"cosine_control": 0.0, "nll_forward": 1.0, "nll_reverse": 5.0}
        | {"predicted_change": -0.1, "actual_change": -0.102}
        for state, group in product(_states(seeds), GROUPS)
    ]
    return _pretrained("gradients", rows)
