"""A small run with its page of results, made by the workflow's steps from tables of our own."""

from pathlib import Path

import polars as pl
import yaml

from reversal_curse.cli import main
from reversal_curse.config.file import Config
from unit.synthetic import CHOICE, write_runs

SEEDS, EPOCHS = 5, 200
CONFIG = {
    "defaults": {"layers": 1, "heads": 1, "embed_dim": 8, "vocab_size": 20, "seeds": SEEDS},
    "families": {"masked_diffusion": {"learning_rate": 0.001}, "bilinear": {"learning_rate": 1.0}},
    "presets": {"long": {"epochs": 200}, "unused": {"epochs": 7}},
    "sweeps": {
        "base": {},
        "grid": {"vocab_size": [20, 24], "points": [{"layers": 1}, {"layers": 2}]},
        "heads": {"tie_head": [False, True]},
        "facts": {"task": "facts", "family": ["gpt", "masked_diffusion"], "preset": "long"},
    },
    "figures": {
        "reversal_curve": "base",
        "mine": {"plot": "curves", "sweep": "grid", "title": "Of <b>my</b> own"},
        "diffusion_vs_autoregressive": "facts",
    },
}


def metrics_of(point: dict) -> pl.DataFrame:
    """Return curves of a model that learns what it is shown, and nothing else."""
    rows = [
        {"seed": seed, "epoch": epoch, "split": split, "nll_token": loss, "nll_word": loss}
        | {"accuracy": float(split == "train" and epoch > 0)}
        | {"chance_vocab": 3.1, "chance_class": 2.4}
        | CHOICE
        | {"rank_choice": 0.3 + 0.1 * seed}
        for seed in range(SEEDS)
        for epoch in range(0, EPOCHS + 1, 2)
        for split in ("train", "unseen")
        for loss in [0.01 * (seed + 1) if split == "train" and epoch else 3 + 0.1 * seed]
    ]
    return pl.DataFrame(rows)


def write_small_page(folder: Path) -> Path:
    """Write the runs, tables, figures, ledger and page of CONFIG; return the page."""
    path, results = folder / "config.yaml", folder / "results"
    path.write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    write_runs(Config.load(path), results, metrics_of)
    steps = [["aggregate"], *(["figure", name] for name in CONFIG["figures"]), ["claims"], ["page"]]
    for step in steps:
        assert main([*step, "--config", str(path), "--results", str(results)]) == 0
    return results / "index.html"
