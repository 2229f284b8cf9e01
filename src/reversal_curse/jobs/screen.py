"""What a person sees of training: while it runs, when it ends, and when somebody asks."""

import logging
import shlex
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reversal_curse.config.errors import UserError
from reversal_curse.jobs.plan import duration, of, outlook
from reversal_curse.jobs.progress import GONE, Progress, Snapshot
from reversal_curse.jobs.training_jobs import Job
from reversal_curse.tables.files import read_table

ROWS = 8
"""Lines for running jobs, and for failures: all of it fits 24 lines."""
WIDTH = 100
REFRESH = {True: 1.0, False: 10.0}
"""Seconds between two updates: on a terminal, and elsewhere."""

TARGETS = ("all", "data", "metrics", "pretrained", "figures", "claims", "page")
"""Rules that only name what others make."""


def console(stdout: bool = False) -> Console:
    """Make a console as wide as the terminal; lines of a file are not cut."""
    made = Console(stderr=not stdout, highlight=False, soft_wrap=True, emoji=False, markup=False)
    made.width = min(made.width, WIDTH) if made.is_terminal else WIDTH
    return made


def counts(seen: Snapshot) -> str:
    """Say how many points are trained: `37 of 129 grid points trained (41 % of the work)`."""
    share = f"{100 * seen.share:.0f} % of the work"
    return f"{seen.trained} of {seen.points} grid points trained ({share})"


def where(state: Mapping[str, Any]) -> str:
    return f"epoch {state['epoch']} of {state['epochs']}, loss {state['loss']:.3g}"


def one_line(seen: Snapshot, when: str, busy: Iterable[str] = ()) -> str:
    """Say all in a line, for a file or a log; `when`: what to say of time."""
    now = [*(f"{state['words']} ({where(state)})" for state in seen.running), *busy]
    more = f" and {len(now) - 2} more" if len(now) > 2 else ""
    running = f"; running: {', '.join(now[:2])}{more}" if now else ""
    failed = f"; {len(seen.failed)} failed" if seen.failed else ""
    return f"{counts(seen)}, {when}{failed}{running}"


def times(seen: Snapshot, elapsed: float) -> str:
    """Say the time that has passed and the time that is left."""
    left = f", about {duration(seen.left)} left" if seen.left >= 1 else ""
    return f"{clock(elapsed)} so far{left}"


def clock(seconds: float) -> str:
    """Write how long something took: `41 s`, `1 min 51 s`, `2 h 5 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, part = divmod(minutes, 60)
    if hours:
        return f"{hours} h {part} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def picture(seen: Snapshot, first: str, last: Iterable[str] = ()) -> RenderableType:
    """Draw a snapshot: a bar, the points in training, `first` and `last` lines."""
    bar = Table.grid(padding=(0, 1))
    bar.add_row(ProgressBar(1.0, seen.share, width=30), counts(seen))
    rows = Table.grid(padding=(0, 2))
    for state in seen.running[:ROWS]:
        age = f"{duration(state['age'])} ago on {state['host']}" if state["age"] > 10 else ""
        rows.add_row(Text(state["words"], overflow="ellipsis", no_wrap=True), where(state), age)
    if len(seen.running) > ROWS:
        rows.add_row(f"and {len(seen.running) - ROWS} more in training")
    return Group(first, bar, rows, *last)


def failures(failed: Mapping[str, str]) -> list[str]:
    """List failures, a line each."""
    lines = [_short(f"{words}: {why}") for words, why in failed.items()]
    more = [f"and {len(failed) - ROWS} more"] if len(failed) > ROWS else []
    return lines[:ROWS] + more


def _short(line: str) -> str:
    """Write a line that fits the screen; its middle goes: what failed is first, the cause last."""
    line = " ".join(line.split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH // 3]} ... {line[5 - WIDTH * 2 // 3 :]}"


def results_of(own: Path) -> list[str]:
    """Say where results lie, a line each, and how many claims have which verdict."""
    lines = []
    with suppress(UserError):  # not made yet, or damaged: the next call makes it
        ledger = read_table(own / "claims.parquet", "claims").filter(kind="evidence")
        found = sorted(Counter(ledger["verdict"]).items())
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in found)
        lines.append(f"claims   {verdicts} (evidence; checks apart): {own}/claims.md")
    if drawn := len([*own.glob("figures/*.svg")]):
        lines.append(f"figures  {drawn} in {own}/figures")
    tables = [own / f"{name}.parquet" for name in ("metrics", "points")]
    if all(map(Path.exists, tables)):
        lines.append(f"tables   {tables[0]}, {tables[1]}")
    if (page := own / "index.html").exists():
        lines.append(f"page     {page}")
    return lines


def watch(progress: Progress, jobs: Mapping[str, Job], own: Path, again: bool) -> None:
    """Print how far training is, whoever trains; with `again`, when it changes, until Ctrl-C."""
    out, said = console(stdout=True), ""

    def look(seen: Snapshot) -> RenderableType:
        first = f"{seen.waiting} grid points waiting, about {duration(seen.left)} left"
        first = first if seen.trained < seen.points else "everything is trained"
        done = results_of(own) if seen.trained == seen.points else []
        return picture(seen, first, [*failures(seen.failed), *done])

    if not again:
        return out.print(look(progress.look(jobs)))
    live = Live(console=out, auto_refresh=False, transient=not out.is_terminal)
    with suppress(KeyboardInterrupt), live:
        while True:
            seen = progress.look(jobs)
            if out.is_terminal:
                live.update(look(seen), refresh=True)
            elif (line := one_line(seen, f"about {duration(seen.left)} left")) != said:
                out.print(line)
                said = line
            time.sleep(REFRESH[out.is_terminal])


class Screen:
    """Shows a call of the workflow, from Snakemake's records; one thread calls `take`."""

    def __init__(
        self,
        progress: Progress,
        jobs: Mapping[str, Job],
        called: set[str],
        own: Path,
        log: Callable[[], list[str]],
        dry_run: bool,
        prefix: str,
    ):
        """`called`: the jobs that the DAG asks for, once it is built; `prefix`: of our rules."""
        self.progress, self.every, self.called, self.own = progress, jobs, called, own
        self.log, self.dry_run, self.prefix = log, dry_run, prefix
        self.console = console(stdout=dry_run)
        self.began = time.time()
        self.stats: dict[str, int] = {}
        self.active = self.stopped = self.broken = False
        self.running: dict[int, str] = {}  # rules of jobs
        self.finished: list[str] = []
        self.failed: dict[int, dict[str, str]] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def jobs(self) -> dict[str, Job]:
        return {name: self.every[name] for name in self.called}

    def take(self, record: Any) -> bool:
        """Note what a record says; tells whether nobody else needs to print it."""
        event = str(getattr(record, "event", "") or "")
        if event == "workflow_started":
            self.active = True
        if not self.active:
            return False
        match event:
            case "run_info":
                self._plan(record)
            case "job_info" if not self.dry_run:
                self._job(record)
            case "job_finished" if record.job_id in self.running:
                self.finished.append(self.running.pop(record.job_id))
                self.failed.pop(record.job_id, None)
            case "job_error":
                self.running.pop(record.jobid, None)
                if not self.stopped:
                    self._failure(record)
            case "" | "error" if record.levelno >= logging.WARNING:
                # Of a failed job Snakemake says the command, which is no cause, before the failure;
                # afterwards it repeats itself.
                known = bool(self.failed) or self.stopped
                known |= getattr(record, "exception", "") == "RuleException"
                self.broken |= record.levelno >= logging.ERROR and not known
                return known
            case "" if record.getMessage().startswith("Terminating processes"):
                self.stopped = True
                self.console.print("stopping: training saves where it is")
        return True

    def _plan(self, record: Any) -> None:
        first = not self.stats and not self.dry_run
        rules = record.stats.items()
        self.stats = {r.removeprefix(self.prefix): n for r, n in rules if r != "total"}
        if first:
            self.progress.begin(self.called)
            lines = outlook(self.progress, self.jobs)
            self.console.print(*lines, *(f"log: {path}" for path in self.log()), sep="\n")

    def _job(self, record: Any) -> None:
        rule = self.running[record.jobid] = record.rule_name.removeprefix(self.prefix)
        # The rule `plan` prints by itself.
        if not self._thread and rule not in ("plan", "all"):
            self._thread = threading.Thread(target=self._show, daemon=True)
            self._thread.start()

    def _failure(self, record: Any) -> None:
        """Print why a step failed: what its job wrote, or else the last line of its log."""
        name = Path(record.output[0]).stem if record.output else ""
        jobs = {name: self.every[name]} if name in self.called else {}
        told = self.progress.look(jobs).failed
        if all(why.startswith(GONE) for why in told.values()):  # the disk may be full
            said = ["no word in its log (is the disk full?)"]
            with suppress(OSError, IndexError):  # it has no log
                lines = Path(record.log[0]).read_text("utf-8", "replace").splitlines()
                said += filter(str.strip, lines)
            last = ([line for line in said if ": failed: " in line] or said)[-1]
            sweeps = [f" ({', '.join(job.sweeps)})" for job in jobs.values()]
            step = "".join([record.rule_name.removeprefix(self.prefix), *sweeps])
            told = dict.fromkeys(told or [step], f"failed: {last.rpartition(': failed: ')[2]}")
        self.failed[record.jobid] = told
        self.console.print(*failures(told), sep="\n")

    def _show(self) -> None:
        terminal = self.console.is_terminal
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            while not self._ended.wait(REFRESH[terminal]):
                seen = self.progress.look(self.jobs, self._others())
                rules, when = [*self.running.values()], times(seen, time.time() - self.began)
                going = dict.fromkeys(filter(_makes, rules))
                busy = [rule.replace("figure_", "figure ", 1) for rule in going]
                queued = sum(rule.startswith("train_") for rule in rules) - len(seen.running)
                busy += [f"jobs starting or queued: {queued}"] if queued > 0 else []
                if not terminal:
                    self.console.print(one_line(seen, when, busy))
                    continue
                last = [f"now: {', '.join(busy[:3])}"] if busy else []
                if drawn := _drawn(self.finished):
                    last.append(f"{of(len(drawn), 'figure')}, last {', '.join(drawn[-3:])}")
                live.update(picture(seen, when, last), refresh=True)

    def _others(self) -> list[float]:
        """Estimate the seconds of each step left that trains nothing, on an idle machine."""
        left = Counter(self.stats)
        left.subtract(self.finished)
        return [1.0 if rule == "dataset" else 3.0 for rule in left.elements() if _makes(rule)]

    def close(self) -> None:
        """Say how the call ended, if it began."""
        self._ended.set()
        if self._thread:
            self._thread.join()
        if self.active and not self.broken and self.finished != ["plan"]:  # it says all itself
            self.console.print(*(self._would() if self.dry_run else self._summary()), sep="\n")
        self.active = False  # Snakemake closes its loggers twice

    def _would(self) -> list[str]:
        if not self.stats:
            return ["nothing to be done: everything is there"]
        lines, figures = outlook(self.progress, self.jobs), _drawn(self.stats)
        if figures:
            made = f"{of(len(figures), 'figure')} would be made: {', '.join(figures)}"
            lines.append(_short(made))
        if others := [r for r in filter(_makes, self.stats) if not r.startswith("figure_")]:
            lines.append(f"and {', '.join(others)}")
        return [*lines, "nothing was done (dry run); --printshellcmds lists every step"]

    def _summary(self) -> list[str]:
        seen, stats, there = self.progress.look(self.jobs), self.stats, len(self.progress.there)
        counted = f"everything was there already: {of(there, 'grid point')}"
        if stats:
            new, made = of(seen.trained - there, "grid point"), len(_drawn(self.finished))
            counted = f"{new} trained, {there} were there already; {of(made, 'figure')} made"
        left = sum(stats.values()) - len(self.finished)
        state = "done" if not left else "stopped" if self.stopped else "failed"
        lines = [f"{state} after {clock(time.time() - self.began)}: {counted}"]
        if left:
            failed = [seen.failed, *self.failed.values()]
            lines += failures({words: why for told in failed for words, why in told.items()})
            if seen.points > seen.trained:
                lines.append(f"left to train: {of(seen.points - seen.trained, 'grid point')}")
            folder = self.progress.results
            lines.append(f"kept: every finished grid point, and checkpoints ({folder}/checkpoints)")
            program = "snakemake" if sys.argv[0].endswith("__main__.py") else sys.argv[0]
            lines.append(f"go on: {shlex.join([program, *sys.argv[1:]])}")
        else:
            lines += results_of(self.own)
        return [*lines, *(f"log      {path}" for path in self.log())]


def _makes(rule: str) -> bool:
    """Tell whether a rule makes something, other than by training."""
    return not rule.startswith("train_") and rule not in TARGETS


def _drawn(rules: Iterable[str]) -> list[str]:
    """List the figures that some rules draw; one comes with the page."""
    drawn = (rule.replace("write_page", "figure_claims_overview") for rule in rules)
    return [rule[7:] for rule in drawn if rule.startswith("figure_")]
