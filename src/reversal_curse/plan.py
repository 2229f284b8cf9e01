"""What is trained, what is waiting and what it will cost, before anything is paid for."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from reversal_curse.config import Config
from reversal_curse.cost import HARDWARE, seconds
from reversal_curse.runs import read_record
from reversal_curse.settings import Settings
from reversal_curse.sweep import sweep_points

DEVICES = {"cpu": "cpu", "gpu": "cuda"}  # hardware, as `run.json` calls it


@dataclass(frozen=True)
class Point:
    """A grid point: what it should cost in seconds, and what it did cost where it is trained."""

    settings: Settings
    estimate: float
    measured: float | None
    trained: bool


def plan(config: Config, runs: Path, hardware: str, pretrained: Path) -> str:
    """A table by family and by sweep: grid points trained and waiting, and the time they will take.

    The estimates of `cost.py` are corrected by the runs below `runs` that were measured on the
    same kind of hardware. Pretrained models, probed into `pretrained`, are counted below it.
    """
    sweeps = {sweep.name: sweep_points(config, sweep) for sweep in config.sweeps}
    points = {
        directory: _point(runs / directory, settings, hardware)
        for found in sweeps.values()
        for directory, settings in found.items()
    }
    ratios = [p.measured / p.estimate for p in points.values() if p.measured]
    correction = statistics.median(ratios) if ratios else 1.0
    families = dict.fromkeys(point.settings.family for point in points.values())
    groups = [
        (f"family {name}", [p for p in points.values() if p.settings.family == name])
        for name in families
    ]
    figures = {sweep: [f for f, s in config.figures.items() if s == sweep] for sweep in sweeps}
    groups += [
        (", ".join(figures[name]) or f"sweep {name}", [points[d] for d in found])
        for name, found in sweeps.items()
    ]
    groups.append(("all, each point once", list(points.values())))
    width = max(len(name) for name, _ in groups)
    lines = [f"{'':{width}}  {'points':>7}  {'trained':>7}  {'waiting':>7}  {'time left':>10}"]
    for name, some in groups:
        waiting = [point for point in some if not point.trained]
        left = correction * sum(point.estimate for point in waiting)
        lines.append(
            f"{name:{width}}  {len(some):7}  {len(some) - len(waiting):7}  {len(waiting):7}  "
            f"{duration(left):>10}"
        )
    lines.append(_footnote(hardware, len(ratios), correction))
    if config.pretrained:
        probed = sum((pretrained / f"model={m.name}/run.json").exists() for m in config.pretrained)
        count = f"{probed} of {len(config.pretrained)} probed"
        lines.append(f"pretrained models: {count}; their time is not estimated")
    return "\n".join(lines)


def _point(directory: Path, settings: Settings, hardware: str) -> Point:
    record = read_record(directory, settings)
    measured = None
    if record and record.get("device") == DEVICES[hardware]:
        measured = record.get("wall_seconds")
    valid = isinstance(measured, int | float) and measured > 0
    estimate = seconds(settings, hardware)
    return Point(settings, estimate, measured if valid else None, record is not None)


def duration(left: float) -> str:
    """Seconds as a person says them: `40 s`, `12 min`, `3.5 h`, `120 h`."""
    if left == 0:
        return "-"
    if left < 100:
        return f"{left:.0f} s"
    if left < 100 * 60:
        return f"{left / 60:.0f} min"
    hours = left / 3600
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"


def _footnote(hardware: str, measured: int, correction: float) -> str:
    unit = {"cpu": "core-hours", "gpu": "GPU-hours"}[hardware]
    text = f"time left: of {HARDWARE[hardware].description} ({unit}), by estimate"
    if not measured:
        return text
    runs = "run" if measured == 1 else "runs"
    return f"{text}, corrected by {measured} measured {runs} (x {correction:.2g})"
