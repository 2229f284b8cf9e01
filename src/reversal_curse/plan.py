"""What is trained and what is waiting, before anything is paid for."""

from __future__ import annotations

import json
from pathlib import Path

from reversal_curse.config import Config
from reversal_curse.registry import run_tables
from reversal_curse.settings import Settings
from reversal_curse.sweep import grid_points, sweep_points
from reversal_curse.versions import DATA_VERSION, TRAINING_VERSION


def is_trained(directory: Path, settings: Settings) -> bool:
    """Whether a run directory holds every file of a finished run of today's training code."""
    names = [f"{table}.parquet" for table in run_tables(settings.family)]
    if not all((directory / name).exists() for name in names):
        return False
    try:
        versions = json.loads((directory / "run.json").read_text(encoding="utf-8"))["versions"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return (versions["data"], versions["training"]) == (DATA_VERSION, TRAINING_VERSION)


def plan(config: Config, runs: Path) -> str:
    """A table: per sweep, and for their union, the grid points trained and waiting."""
    rows = [(sweep.name, sweep_points(config, sweep)) for sweep in config.sweeps]
    rows.append(("all, each point once", grid_points(config)))
    width = max(len(name) for name, _ in rows)
    lines = [f"{'sweep':{width}}  {'points':>7}  {'trained':>7}  {'waiting':>7}"]
    for name, points in rows:
        trained = sum(is_trained(runs / path, settings) for path, settings in points.items())
        waiting = len(points) - trained
        lines.append(f"{name:{width}}  {len(points):7}  {trained:7}  {waiting:7}")
    return "\n".join(lines)
