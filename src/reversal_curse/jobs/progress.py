"""How far training is: what each job writes while it trains, and what all of it adds up to."""

import heapq
import json
import os
import platform
import statistics
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from reversal_curse.config.cost import seconds
from reversal_curse.config.file import Config
from reversal_curse.config.grid import Sweep, all_points
from reversal_curse.jobs.training_jobs import Job
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.run_files import Runs
from reversal_curse.training.gpus import count_gpus

START = 4.0
"""Seconds until the first epoch of a job: two processes, and PyTorch."""
TRUST = 5.0
"""Estimates weigh as much as if so many seconds of them had proven right."""
TRAINED, GONE = "trained", "failed: its process is gone"
DEVICES = {"cpu": "cpu", "gpu": "cuda"}  # hardware, as `run.json` calls it


class JobProgress:
    """Writes how far a job is into `results/progress`, whole or not at all."""

    def __init__(self, path: Path, outcomes: dict[str, str]):
        """`outcomes`: TRAINED or the failure of points, by run; whoever trains adds to it."""
        self.path = path
        self.state: dict[str, Any] = {"host": platform.node(), "pid": os.getpid()}
        self.state |= {"started": time.time(), "outcomes": outcomes, "ended": ""}

    def tell(self, **news: Any) -> None:
        """Write what is known of the job, with the news."""
        self.state |= news
        # The disk may be full, which is no reason to lose the training.
        with suppress(OSError), replacing(self.path) as partial:
            partial.write_text(json.dumps(self.state | {"time": time.time()}), "utf-8")


@dataclass(frozen=True)
class Snapshot:
    """How far the grid points of a config, or of a call, are."""

    points: int
    trained: int
    share: float
    """The part of the work that is done: points weighted by their cost."""
    running: list[dict[str, Any]]
    """What jobs wrote, with the `words` that tell their points apart, and `age` in seconds."""
    failed: dict[str, str]
    """Why points failed, or were stopped, by their words."""
    left: float
    """Seconds of wall time, estimated."""

    @property
    def waiting(self) -> int:
        """Count the points that are neither trained nor in training nor failed."""
        return self.points - self.trained - len(self.running) - len(self.failed)


class Progress:
    """The grid points of a config: looks at its runs once, and at the jobs again and again."""

    def __init__(self, config: Config, sweeps: Mapping[str, Sweep], runs: Runs, slots: int = 0):
        """`slots`: jobs that run at a time, by default as many as this machine has cores or GPUs"""
        points = all_points(sweeps)
        self.config, self.sweeps, self.results = config, sweeps, runs.results
        self.slots = slots or slots_here(config.hardware)
        self.estimates = {run: seconds(s, config.hardware) for run, s in points.items()}
        records = {r: record for r, s in points.items() if (record := runs.record(r, s))}
        self.there, self.trained = set(records), set(records)
        self.ratios = [
            record["wall_seconds"] / self.estimates[run]
            for run, record in records.items()
            if record["device"] == DEVICES[config.hardware]
        ]
        self.correction = statistics.median(self.ratios) if self.ratios else 1.0
        self._first: tuple[float, float] | None = None  # when training began, what was left then
        self._reports: dict[str, int] = {}
        self._began = 0.0

    def begin(self, jobs: Iterable[str]) -> None:
        """Forget what jobs wrote before now: a call of the workflow starts them."""
        self._reports = {name: self._report_time(name) for name in jobs}
        self._began = time.time()

    def words(self, run: str) -> str:
        """Say which grid point a run is: its sweep, and how it differs from the sweep's others."""
        name, sweep = next((n, s) for n, s in self.sweeps.items() if run in s.points)
        return f"{name}: {sweep.labels[run]}" if sweep.labels[run] else name

    def time(self, runs: Iterable[str]) -> float:
        """Estimate the seconds to train runs, one after the other."""
        return self.correction * sum(self.estimates[run] for run in runs)

    def wall(self, lengths: Iterable[float], slots: int = 0) -> float:
        """Estimate the time of jobs: the longest first, each where it can start soonest."""
        longest_first = sorted(lengths, reverse=True)
        ends = [0.0] * max(1, min(slots or self.slots, len(longest_first)))
        for length in longest_first:
            heapq.heapreplace(ends, ends[0] + length)
        return max(ends)

    def look(self, jobs: Mapping[str, Job], others: Iterable[float] = ()) -> Snapshot:
        """See how far the points of `jobs` are; `others`: seconds of steps that train nothing."""
        running, failed = [], {}
        for name, job in jobs.items():
            if job.points.keys() <= self.trained:
                continue
            report = self._report_time(name)
            if report > self._reports.setdefault(name, report):
                self.trained |= job.points.keys()
                continue
            state = self._state(name)
            if not state:
                continue
            outcomes, now = state["outcomes"], state.get("run")
            self.trained |= {run for run, outcome in outcomes.items() if outcome == TRAINED}
            failed |= {self.words(run): why for run, why in outcomes.items() if why != TRAINED}
            if now is None or now in self.trained:
                continue
            words = self.words(now)
            if state["ended"] == "stopped":
                at = f"{state['epoch']} of {state['epochs']}"
                failed[words] = f"stopped after epoch {at} or later; goes on from there"
            elif not state["ended"]:
                state |= {"words": words, "age": time.time() - state["time"]}
                if state["host"] == platform.node() and not psutil.pid_exists(state["pid"]):
                    failed[words] = f"{GONE}; last heard of {state['age']:.0f} s ago"
                else:
                    running.append(state)
        partly = {state["run"]: state["epoch"] / state["epochs"] for state in running}
        done = dict.fromkeys(self.trained, 1.0) | partly
        left = {run: cost * (1 - done.get(run, 0.0)) for run, cost in self.estimates.items()}
        lengths = [
            self.correction * sum(left[run] for run in job.points)
            + (0 if partly.keys() & job.points.keys() else START)
            for job in jobs.values()
            if job.points.keys() - self.trained
        ]
        wall = self.wall([*lengths, *others], max(self.slots, len(running)))
        passed = expected = 0.0
        if any(partly.values()) or self.trained - self.there:  # what comes before it says nothing
            self._first = self._first or (time.time(), wall)
            passed, expected = time.time() - self._first[0], max(0, self._first[1] - wall)
        asked = {run for job in jobs.values() for run in job.points} | self.there
        work = sum(self.estimates[run] for run in asked)
        return Snapshot(
            points=len(asked),
            trained=len(asked & self.trained),
            share=1 - sum(left[run] for run in asked) / work if asked else 1.0,
            running=running,
            failed=failed,
            left=wall * (passed + TRUST) / (expected + TRUST),
        )

    def _state(self, name: str) -> dict[str, Any]:
        """Read what a job wrote; empty if it wrote nothing since we began."""
        with suppress(OSError, ValueError):
            state = json.loads((self.results / f"progress/{name}.json").read_text("utf-8"))
            return state if state["started"] >= self._began else {}
        return {}

    def _report_time(self, name: str) -> int:
        with suppress(OSError):
            return (self.results / f"jobs/{name}.json").stat().st_mtime_ns
        return 0


def slots_here(hardware: str) -> int:
    """Count the training jobs that this machine runs at a time."""
    if hardware == "gpu":
        return max(1, count_gpus())
    return len(psutil.Process().cpu_affinity()) if psutil.LINUX else os.cpu_count() or 1
