"""What is trained and what is waiting, before anything is paid for."""

from __future__ import annotations

from pathlib import Path

from reversal_curse.config import Config
from reversal_curse.runs import is_trained
from reversal_curse.sweep import grid_points, sweep_points


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
