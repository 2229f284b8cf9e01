"""The runs below a results folder: which are finished, whole, and made by the code of today."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reversal_curse.config.errors import UserError
from reversal_curse.config.settings import DEFAULTS, Settings
from reversal_curse.families import FAMILIES
from reversal_curse.tables.provenance import code_of_training, differences
from reversal_curse.tables.record import damaged_file, read_record

LOG = "train.log"
RECORD = "run.json"
LATE = 60.0
"""Seconds after which all nodes see a file that one of them wrote: NFS remembers what a folder
holds for as long."""


def table_files(settings: Settings) -> list[str]:
    """Name the tables of a finished run; RECORD is written after them."""
    return [f"{table}.parquet" for table in FAMILIES[settings.family].tables]


@dataclass(frozen=True)
class State:
    """What lies in the folder of a run."""

    record: Mapping[str, Any] | None
    """The content of `run.json`; None if there is no finished run of the settings."""
    problem: str = ""
    """Why what is there does not count."""
    stale: tuple[str, ...] = ()
    """The modules and libraries that have changed since it was trained."""


def state_of(folder: Path, settings: Settings) -> State:
    """Compare what lies in a folder with a grid point and with the code of today."""
    path = folder / RECORD
    try:
        record = read_record(path)
    except UserError as error:
        return State(None, str(error))
    if record is None:
        return State(None)
    recorded, asked = record["settings"], settings.described()
    # Settings that were added after this run was trained had their default.
    for name, value in asked.items():
        held = recorded.get(name, None if value is None else DEFAULTS[name])
        if held != value:
            return State(None, f"{path}: {name} must be {value}, got {held}")
    damage = damaged_file(path, record, folder)
    if damage:
        return State(None, f"{folder}/{damage}")
    current = code_of_training(settings.family, settings.task)
    return State(record, stale=tuple(differences(record["code"], current)))


@dataclass
class Runs:
    """The runs below `results`, each looked at once; `stale` says what counts as trained.

    `keep` counts runs by other code, `retrain` and `refuse` do not.
    """

    results: Path
    stale: str = "keep"
    _states: dict[str, State] = field(default_factory=dict)

    def folder(self, run: str) -> Path:
        return self.results / "runs" / run

    def state(self, run: str, settings: Settings) -> State:
        """Return the state of a run, given its directory and settings."""
        if run not in self._states:
            self._states[run] = state_of(self.folder(run), settings)
        return self._states[run]

    def record(self, run: str, settings: Settings) -> Mapping[str, Any] | None:
        """Return the record of a run; None if it has to be trained."""
        state = self.state(run, settings)
        return state.record if self.stale == "keep" or not state.stale else None

    def trained(self, run: str, settings: Settings) -> Mapping[str, Any]:
        """Return the record of a run; raises UserError if it has to be trained."""
        if self.state(run, settings).record is None and (until := self._promised(run)):
            print(f"{self.folder(run)}: not here yet; waiting", file=sys.stderr, flush=True)
            while self.state(run, settings).record is None and time.time() < until:
                time.sleep(1)
                del self._states[run]
        record = self.record(run, settings)
        if record is None:
            state = self.state(run, settings)
            none = "by other code" if state.stale else "no finished run of these settings"
            raise UserError(f"{state.problem or f'{self.folder(run)}: {none}'}; train it first")
        return record

    def _promised(self, run: str) -> float:
        """Return until when a run may be late: a job of the last minute reports it as trained."""
        for report in self.results.glob("jobs/*.json"):
            with suppress(OSError, ValueError):  # gone, or half written before power was lost
                age = time.time() - report.stat().st_mtime
                if age < LATE and f'"{run}"' in report.read_text("utf-8"):
                    return time.time() + LATE - max(0.0, age)
        return 0.0

    def problems(self, points: Mapping[str, Settings]) -> list[str]:
        """Say, a line each, which runs are there and do not count."""
        states = (self.state(run, settings) for run, settings in points.items())
        problems = [state.problem for state in states if state.problem]
        lines = [f"{problem}; it is trained again" for problem in problems[:SHOWN]]
        if len(problems) > SHOWN:
            lines.append(f"{len(problems) - SHOWN} more runs do not count; they are trained again")
        return lines

    def by_other_code(self, points: Mapping[str, Settings]) -> str:
        """Say how many runs are by other code, of which commits, and what changed since."""
        states = [self.state(run, settings) for run, settings in points.items()]
        stale = [state for state in states if state.stale]
        if not stale:
            return ""
        modules = sorted({module for state in stale for module in state.stale})
        commits = {state.record["commit"] or "unknown" for state in stale if state.record}
        made = some(sorted(commit[:10] + commit[40:] for commit in commits))
        counts = f"{len(stale)} of {len(states)} runs are by other code (of commit {made})"
        return f"{counts}: {some(modules)} changed since"


SHOWN = 5


def some(words: list[str]) -> str:
    """List the first of some words, and how many more there are."""
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def mixtures(sweep: str, records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say, a line each, in what the runs of a sweep differ that no setting asks for."""
    records, lines = list(records), []
    for what in ("torch", "device", "precision"):
        values = [{**record, **record["versions"]}[what] for record in records]
        # The family decides some: the one-layer model has float64.
        families = [record["settings"]["family"] for record in records]
        if len({*zip(families, values, strict=True)}) > len({*families}):
            counts = ", ".join(f"{value} ({n} runs)" for value, n in Counter(values).items())
            gpus = Counter(record["device_name"] for record in records)
            if what == "precision" and len(gpus) > 1:  # `auto` asks the GPU
                counts += f", on {', '.join(f'{name} ({n})' for name, n in gpus.items())}: "
                counts += "set `precision`, or pin a GPU model in the profile"
            lines.append(f"sweep {sweep} mixes runs by {what}: {counts}")
    return lines
