"""What is trained, what is waiting, and what it will cost."""

import statistics
from collections.abc import Mapping
from typing import Any

from reversal_curse.config.cost import HARDWARE, seconds
from reversal_curse.config.file import Config
from reversal_curse.config.grid import Sweep, all_points
from reversal_curse.tables.run_files import Runs

DEVICES = {"cpu": "cpu", "gpu": "cuda"}  # hardware, as `run.json` calls it


def plan(config: Config, sweeps: Mapping[str, Sweep], runs: Runs) -> str:
    """Tabulate trained and waiting grid points, and the time left, by family and by sweep.

    The estimates of `config/cost.py` are corrected by the runs that were trained
    on the same kind of hardware. Pretrained models are counted in the last line.
    """
    points = all_points(sweeps)
    estimates = {run: seconds(settings, config.hardware) for run, settings in points.items()}
    records = {run: runs.record(run, settings) for run, settings in points.items()}
    ratios = [
        record["wall_seconds"] / estimates[run]
        for run, record in records.items()
        if record and record.get("device") == DEVICES[config.hardware] and _measured(record)
    ]
    correction = statistics.median(ratios) if ratios else 1.0
    groups: dict[str, list[str]] = {}
    for run, settings in points.items():
        groups.setdefault(f"family {settings.family}", []).append(run)
    for name, sweep in sweeps.items():
        drawn = [figure for figure, block in config.figures.items() if block.sweep == name]
        groups[", ".join(drawn) or f"sweep {name}"] = list(sweep.points)
    groups["all, each point once"] = list(points)
    width = max(map(len, groups))
    lines = [f"{'':{width}}  {'points':>7}  {'trained':>7}  {'waiting':>7}  {'time left':>10}"]
    for name, grouped in groups.items():
        waiting = [run for run in grouped if records[run] is None]
        left = duration(correction * sum(estimates[run] for run in waiting))
        counts = f"{len(grouped):7}  {len(grouped) - len(waiting):7}  {len(waiting):7}"
        lines.append(f"{name:{width}}  {counts}  {left:>10}")
    unit = {"cpu": "core-hours", "gpu": "GPU-hours"}[config.hardware]
    footnote = f"time left: estimated for {HARDWARE[config.hardware].description} ({unit})"
    if ratios:
        measured = "run" if len(ratios) == 1 else "runs"
        footnote += f", corrected by {len(ratios)} measured {measured} (x {correction:.2g})"
    lines.append(footnote)
    if config.pretrained:
        probed = sum(
            (runs.results / f"pretrained/model={m.name}/run.json").exists()
            for m in config.pretrained
        )
        count = f"{probed} of {len(config.pretrained)} probed"
        lines.append(f"pretrained models: {count}; their time is not estimated")
    return "\n".join(lines)


def _measured(record: Mapping[str, Any]) -> bool:
    taken = record.get("wall_seconds")
    return isinstance(taken, int | float) and taken > 0


def duration(left: float) -> str:
    """Write seconds as a person would: `40 s`, `12 min`, `3.5 h`, `120 h`."""
    if left == 0:
        return "-"
    if left < 100:
        return f"{left:.0f} s"
    if left < 100 * 60:
        return f"{left / 60:.0f} min"
    hours = left / 3600
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"
