"""What is trained, what is waiting, and what it will cost: time and memory."""

import subprocess
from collections.abc import Mapping
from contextlib import suppress

import psutil

from reversal_curse.config.cost import HARDWARE
from reversal_curse.config.grid import all_points
from reversal_curse.families import FAMILIES
from reversal_curse.jobs.progress import START, Progress
from reversal_curse.jobs.training_jobs import Job


def plan(progress: Progress) -> str:
    """Tabulate trained and waiting grid points, and the time left, by family and by sweep.

    The estimates of `config/cost.py` are corrected by the runs that were trained
    on the same kind of hardware. Pretrained models are counted in the last line.
    """
    config, points = progress.config, all_points(progress.sweeps)
    groups: dict[str, list[str]] = {}
    for run, settings in points.items():
        groups.setdefault(f"family {settings.family}", []).append(run)
    for name, sweep in progress.sweeps.items():
        drawn = [figure for figure, block in config.figures.items() if block.sweep == name]
        groups[", ".join(drawn) or f"sweep {name}"] = list(sweep.points)
    groups["all, each point once"] = list(points)
    width = max(map(len, groups))
    lines = [f"{'':{width}}  {'points':>7}  {'trained':>7}  {'waiting':>7}  {'time left':>10}"]
    for name, grouped in groups.items():
        waiting = [run for run in grouped if run not in progress.trained]
        left = duration(progress.time(waiting))
        counts = f"{len(grouped):7}  {len(grouped) - len(waiting):7}  {len(waiting):7}"
        lines.append(f"{name:{width}}  {counts}  {left:>10}")
    unit = {"cpu": "core-hours", "gpu": "GPU-hours"}[config.hardware]
    footnote = f"time left: estimated for {HARDWARE[config.hardware].description} ({unit})"
    if count := len(progress.ratios):
        footnote += f", corrected by {of(count, 'measured run')} (x {progress.correction:.2g})"
    lines.append(footnote)
    if config.pretrained:
        records = [f"pretrained/model={model.name}/run.json" for model in config.pretrained]
        count = f"{sum((progress.results / path).exists() for path in records)} of {len(records)}"
        lines.append(f"pretrained models: {count} probed; their time is not estimated")
    return "\n".join(lines)


def of(count: int, what: str) -> str:
    """Count things as a person would: `1 grid point`, `2 grid points`."""
    return f"{count} {what}{'s' * (count != 1)}"


def outlook(progress: Progress, jobs: Mapping[str, Job]) -> list[str]:
    """Say what is about to be trained: wall time on this machine, memory, and what will not fit."""
    untrained = (
        {run: s for run, s in job.points.items() if run not in progress.trained}
        for job in jobs.values()
    )
    waiting = [points for points in untrained if points]
    if not waiting:
        return []
    hardware, slots = progress.config.hardware, progress.slots
    left = progress.wall([START + progress.time(points) for points in waiting])
    unit = {"cpu": "core", "gpu": "GPU"}[hardware]
    free = free_memory(hardware)
    needs = {r: FAMILIES[s.family].memory(s) for points in waiting for r, s in points.items()}
    peak = max(needs[run] * s.seeds for points in waiting for run, s in points.items())
    lines = [
        f"{of(len(needs), 'grid point')} to train in {of(len(waiting), 'job')}, "
        f"{len(progress.there)} are there: about {duration(left)} on {of(slots, unit)}, "
        f"up to {_gigabytes(peak)} a job"
    ]
    if free is None:
        return lines
    have = f"{_gigabytes(free)} are free"
    lines += [
        f"will not fit: {progress.words(run)}: a seed needs {_gigabytes(need)}, {have}"
        for run, need in needs.items()
        if need > free * 4 / 5  # as training does
    ][:3]
    at_a_time = min(slots, len(waiting)) if hardware == "cpu" else 1
    if len(lines) == 1 and peak * at_a_time > free * 4 / 5:
        lines.append(f"will not fit at once: {at_a_time} such jobs; {have}: seeds train in groups")
    return lines


def free_memory(hardware: str) -> float | None:
    """Return the bytes that are free here, on the fullest GPU; None if there is no such thing."""
    if hardware == "cpu":
        return psutil.virtual_memory().available
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    with suppress(OSError, ValueError, subprocess.TimeoutExpired):
        listed = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
        return min(map(int, listed.split()), default=0) * 2**20 or None
    return None


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.2g} GB"


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
