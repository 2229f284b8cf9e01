"""Synthetic aggregated tables of the probes, for figures and claims alike."""

from __future__ import annotations

import numpy as np
import polars as pl

from reversal_curse.settings import AXES, Settings
from reversal_curse.tables import TABLES, aggregated

GROUPS = ("all", "attention", "values", "mlp", "embeddings", "head", "norms")


def point(**axes) -> dict:
    """The columns of a grid point."""
    return {axis: getattr(Settings(), axis) for axis in AXES} | {"settings": "abc"} | axes


def _table(name: str, rows: list[dict]) -> pl.DataFrame:
    return aggregated(TABLES[name]).conform(pl.DataFrame(rows, infer_schema_length=None))


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
    return _table("sentence_nll", rows)


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
    return _table("weights", rows)


def attention(
    points: list[dict], before: float | None = None, after: float = 0.5, seeds: int = 2
) -> pl.DataFrame:
    """Scores of four facts that correlate as given before and after training.

    Without `before`, as the closed form of the head's size says.
    """
    from reversal_curse.analysis import rotary_correlation

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
    return _table("attention", rows)


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
    return _table("gradients", rows)


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
