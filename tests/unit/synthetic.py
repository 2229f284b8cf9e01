"""Synthetic tables of grid points, as plots and claims read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from reversal_curse.config.file import Config
from reversal_curse.config.grid import describe, read_sweeps, run_directory
from reversal_curse.config.settings import DEFAULTS, NAMES, Settings, settle
from reversal_curse.tables.files import settings_frame, write_table
from reversal_curse.tables.provenance import DATA_VERSION, TRAINING_VERSION
from reversal_curse.tables.run_files import run_files
from reversal_curse.tables.schemas import TABLES

GROUPS = ("all", "attention", "values", "mlp", "embeddings", "head", "norms")


def point(**given) -> dict:
    """The settings of a grid point by name, None where they mean nothing."""
    return settle({**DEFAULTS, **given}).described()


def settings_of(row: dict) -> Settings:
    """The settings of a point."""
    return settle(DEFAULTS | {n: row[n] for n in NAMES if row[n] is not None})


def gathered(name: str, rows: list[dict]) -> pl.DataFrame:
    """A table of grid points: rows have the values of a `point`, and the table's own."""
    schema = {"run": pl.String, **TABLES[name].schema}
    known: dict[tuple, Settings] = {}
    runs = []
    for row in rows:
        key = tuple(row[n] for n in NAMES)
        if key not in known:
            known[key] = settings_of(row)
        runs.append(run_directory(known[key]))
    points = {run_directory(settings): settings for settings in known.values()}
    labels = describe({run: settings.described() for run, settings in points.items()})
    own = {n: [row[n] for row in rows] for n in TABLES[name].schema} | {"run": runs}
    frame = pl.DataFrame(own, schema_overrides=schema, strict=False).select(list(schema))
    return frame.join(settings_frame(points, labels), on="run", how="left", maintain_order="left")


def write_runs(config: Config, results: Path, metrics: Callable[[dict], pl.DataFrame]) -> None:
    """Finished runs of a config, with the `metrics` of each point; tables of probes are empty."""
    record = {"device": "cpu", "device_name": "x", "precision": "float32", "wall_seconds": 2.5}
    record |= {"versions": {"data": DATA_VERSION, "training": TRAINING_VERSION, "torch": "2"}}
    for sweep in read_sweeps(config).values():
        for run, settings in sweep.points.items():
            folder, own = results / "runs" / run, settings.described()
            for name in run_files(settings)[:-1]:
                table = TABLES[name.removesuffix(".parquet")]
                frame = metrics(own) if table.name == "metrics" else table.empty()
                write_table(folder / name, table.conform(frame), table)
            (folder / "run.json").write_text(json.dumps({"settings": own, "commit": None} | record))


def sentence_nll(
    points: list[dict], exponent: float = 1.0, unseen_ratio: float = 1.0, seeds: int = 2
) -> pl.DataFrame:
    """Seen answers that meet the bound with equality at `exponent`; unseen ones at `ratio` / M."""
    m, rate = 82, 0.5
    rows = [
        {**axes, "seed": seed, "epoch": epoch, "pair": 0, "pair_split": "validation"}
        | {"direction": direction, "split": split, "tokens": m, "learning_rate": rate}
        | {"nll": -np.log(p)}
        for axes in points
        for seed in range(seeds)
        for epoch in (0, 100, 1000)
        for direction, split, p in (
            ("forward", "train", max(1 - (m - 1) * (m * rate * max(epoch, 1)) ** -exponent, 1e-9)),
            ("backward", "unseen", unseen_ratio / m),
        )
    ]
    return gathered("sentence_nll", rows)


def weights(
    points: list[dict], back: float = 0.0, leap: float = 0.0, seeds: int = 2
) -> pl.DataFrame:
    """Trained links of weight 10; `back` from B to A, `leap` from A to C, in chains."""
    rows = []
    for axes in points:
        chain = axes["task"] == "chain"
        links = {"AB": 10.0, "BA": back} | ({"BC": 10.0, "AC": leap} if chain else {})
        places = [(role, place) for role in ("ABC" if chain else "AB") for place in range(4)]
        for seed in range(seeds):
            rows += [
                {**axes, "seed": seed, "pair_split": "train" if i < 2 else "validation"}
                | {"source_role": a, "source": i, "target_role": b, "target": j}
                | {"weight": links.get(a + b, 0.0) + 0.01 * seed if i == j and a != b else 0.0}
                for a, i in places
                for b, j in places
            ]
    return gathered("weights", rows)


def attention(
    points: list[dict], before: float | None = None, after: float = 0.5, seeds: int = 2
) -> pl.DataFrame:
    """Scores of four facts that correlate as given before and after training.

    Without `before`, as the closed form of the head's size says.
    """
    from reversal_curse.tables.summaries import rotary_correlation

    x, y = np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.0, -1.0, 1.0, -1.0])  # uncorrelated
    rows = []
    for axes in points:
        displacement = axes["distance"] + 1
        rho = rotary_correlation(displacement, axes["embed_dim"] // axes["heads"])
        for epoch, r in ((0, rho if before is None else before), (8, after)):
            r = np.clip(r, -1, 1)
            reverse = r * x + np.sqrt(1 - r**2) * y
            rows += [
                {**axes, "seed": seed, "epoch": epoch, "layer": 0, "head": 0, "pair": fact}
                | {"displacement": displacement, "rotated": axes["embed_dim"] // axes["heads"]}
                | {"score_forward": x[fact], "score_reverse": reverse[fact]}
                for seed in range(seeds)
                for fact in range(4)
            ]
    return gathered("attention", rows)


def gradients(
    points: list[dict],
    cosine: float = 0.8,
    control: float = 0.0,
    change: float = -0.01,
    actual: float = 1.0,
    attention_cosine: float = 0.4,
    reverse: float = 2.0,
    seeds: int = 2,
) -> pl.DataFrame:
    """Gradients with one cosine in every group but attention; `actual` times the prediction."""
    rows = [
        {**axes, "seed": seed, "epoch": epoch, "group": group}
        | {"cosine": attention_cosine if group == "attention" else cosine + 0.001 * seed}
        | {"cosine_control": control, "nll_forward": 1.0, "nll_reverse": reverse}
        | {"predicted_change": change, "actual_change": actual * change}
        for axes in points
        for seed in range(seeds)
        for epoch in (0, 1, 8)
        for group in GROUPS
    ]
    return gathered("gradients", rows)


PRETRAINED = (("diffusion", "masked_diffusion"), ("causal", "causal"))


def _pretrained(name: str, rows: list[dict]) -> pl.DataFrame:
    table = TABLES[f"pretrained_{name}"]
    return table.conform(pl.DataFrame(rows, schema_overrides=table.schema))


def _states(seeds: int) -> list[dict]:
    return [
        {"model": model, "kind": kind, "seed": seed, "stage": stage}
        for model, kind in PRETRAINED
        for stage, runs in (("before", 1), ("after", seeds))
        for seed in range(runs)
    ]


def answers(reverses: dict[str, bool], reverse_nll: float = 0.5, seeds: int = 3) -> pl.DataFrame:
    """Forward facts are learned; `reverses` says by kind whether the reverse is known."""
    rows = []
    for state in _states(seeds):
        after = state["stage"] == "after"
        for direction in ("forward", "reverse"):
            known = after and (direction == "forward" or reverses[state["kind"]])
            right = (0.1 if direction == "forward" else reverse_nll) if known else 10.0
            rows += [
                {**state, "direction": direction, "fact": fact, "relation": fact % 2, "tokens": 2}
                | {"nll": right + 0.01 * state["seed"], "exact": known, "chance": 11.0}
                | {"nll_shuffled": 10.0 + 0.01 * state["seed"]}
                for fact in range(8)
            ]
    return _pretrained("answers", rows)


def scores(correlated: bool, seeds: int = 3) -> pl.DataFrame:
    """Scores of 24 facts in two relations, which differ in their means."""
    rng = np.random.default_rng(0)
    rows = []
    for state in _states(seeds):
        if state["kind"] == "causal":
            continue
        for layer in range(2):
            for head in range(2):
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


def pretrained_gradients(
    aligned: dict[str, bool], error: float = 0.0, seeds: int = 3
) -> pl.DataFrame:
    """Cosines by kind; the actual change is the predicted one times 1 + `error`."""
    rows = [
        {**state, "group": group, "cosine": 0.8 if aligned[state["kind"]] else 0.0}
        | {"cosine_control": 0.0, "nll_forward": 1.0, "nll_reverse": 5.0}
        | {"predicted_change": -0.1, "actual_change": -0.1 * (1 + error)}
        for state in _states(seeds)
        for group in GROUPS
    ]
    return _pretrained("gradients", rows)
