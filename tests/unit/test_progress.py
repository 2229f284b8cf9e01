"""What jobs write while they train, and what all of it adds up to."""

import json
import os
import platform
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from reversal_curse.cli import main
from reversal_curse.config.file import Config
from reversal_curse.config.grid import run_directory
from reversal_curse.config.settings import DEFAULTS, settle
from reversal_curse.jobs import screen
from reversal_curse.jobs.plan import outlook
from reversal_curse.jobs.progress import START, TRAINED, Progress
from reversal_curse.jobs.screen import Screen, one_line, times
from reversal_curse.jobs.training_jobs import training_jobs
from reversal_curse.products import Products

SWEEP = {"vocab": {"vocab_size": [20, 24, 28]}}
SIZE = {"layers": 1, "heads": 1, "embed_dim": 8, "seeds": 1, "epochs": 1000}
RUN = run_directory(settle(DEFAULTS | SIZE | {"vocab_size": 20}))


@pytest.fixture
def here(tmp_path) -> tuple[Progress, dict, list[str]]:
    """Three grid points with a job each; their progress, their jobs, their runs."""
    raw = {"defaults": SIZE, "sweeps": SWEEP, "job_minutes": 0}
    config = Config.parse(raw).executed(submitted=False)
    products = Products(config, tmp_path / "results")
    progress = Progress(config, products.sweeps, products.runs, slots=2)
    return progress, training_jobs(config, products.sweeps), [*products.points]


def write(progress: Progress, jobs: dict, point: str, **state) -> Path:
    """Write the progress of the job of a point, at half of its epochs, from this process."""
    (name,) = (name for name, job in jobs.items() if point in job.points)
    path = progress.results / f"progress/{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    now = time.time()
    content = {"host": platform.node(), "pid": os.getpid(), "started": now - 9, "outcomes": {}}
    content |= {"run": point, "epoch": 500, "epochs": 1000, "loss": 0.25, "ended": ""}
    path.write_text(json.dumps({**content, "time": now} | state))
    return path


def test_points_are_weighted_by_cost_and_told_apart_in_words(here):
    progress, jobs, (first, second, _) = here
    write(progress, jobs, first, outcomes={first: TRAINED}, run=None)
    write(progress, jobs, second)
    seen = progress.look(jobs)
    assert (seen.points, seen.trained, seen.waiting) == (3, 1, 1)
    cost = progress.estimates
    assert seen.share == pytest.approx((cost[first] + cost[second] / 2) / sum(cost.values()))
    (running,) = seen.running
    assert running["words"] == "vocab: V = 24"
    line = one_line(seen, times(seen, 65))
    assert line.startswith("1 of 3 grid points trained (")
    assert "1 min 5 s so far" in line
    assert line.endswith("running: vocab: V = 24 (epoch 500 of 1000, loss 0.25)")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"outcomes": {RUN: "failed: no memory"}, "ended": "failed"}, "failed: no memory"),
        ({"pid": 2**22 + 1}, "failed: its process is gone"),
        ({"ended": "stopped"}, "stopped after epoch 500 of 1000"),
    ],
)
def test_what_failed_was_killed_or_stopped_is_said_and_does_not_run(here, state, said):
    progress, jobs, (run, *_) = here
    write(progress, jobs, run, **state)
    seen = progress.look(jobs)
    assert seen.failed["vocab: V = 20"].startswith(said)
    assert (seen.running, seen.trained, seen.waiting) == ([], 0, 2)
    progress.begin(jobs)
    assert progress.look(jobs).failed == {}, "a new call starts the jobs anew"


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("run: failed: No space left, after 9 s\n1 of 1 failed\n", "No space left, after 9 s"),
        ("", "no word in its log (is the disk full?)"),
    ],
)
def test_a_job_that_could_not_write_is_told_once_at_the_end(here, tmp_path, capsys, log, cause):
    progress, jobs, (run, *_) = here
    (tmp_path / "job.log").write_text(log)
    shown = Screen(progress, jobs, {*jobs}, tmp_path, list, dry_run=False, prefix="")
    shown.take(SimpleNamespace(event="workflow_started"))
    shown.take(SimpleNamespace(event="run_info", stats={"train_gpt": 3, "total": 3}))
    path = write(progress, jobs, run, pid=2**22 + 1, started=time.time())
    report, log_file = [f"results/jobs/{path.stem}.json"], [str(tmp_path / "job.log")]
    failed = {"jobid": 1, "rule_name": "train_gpt", "output": report, "log": log_file}
    shown.take(SimpleNamespace(event="job_error", **failed))
    shown.close()
    told = f"vocab: V = 20: failed: {cause}"
    as_it_happens, at_the_end = capsys.readouterr().err.split("failed after 0 s")
    assert told in as_it_happens.splitlines()
    assert [line for line in at_the_end.splitlines() if "vocab" in line] == [told]


def test_watching_prints_a_line_when_something_has_changed(here, tmp_path, monkeypatch, capsys):
    progress, jobs, (run, *_) = here
    config = tmp_path / "config.json"
    config.write_text(progress.config.to_json())

    def later(seconds: float) -> None:
        if lines.append(capsys.readouterr().out) or len(lines) == 2:
            write(progress, jobs, run, epoch=1)
        elif len(lines) == 4:
            raise KeyboardInterrupt

    lines: list[str] = []
    monkeypatch.setattr(screen.time, "sleep", later)
    given = ["--results", str(progress.results), "--watch"]
    assert main(["status", str(config), *given]) == 0
    assert lines[0].startswith("0 of 3 grid points trained (0 % of the work), about ")
    assert "running: vocab: V = 20 (epoch 1 of 1000, loss 0.25)" in lines[2]
    assert lines[1] == ""


def test_a_half_written_or_foreign_file_is_no_progress(here):
    progress, jobs, (run, *_) = here
    write(progress, jobs, run).write_text('{"host": "')
    assert progress.look(jobs).running == []


def test_a_report_counts_once_it_is_written_and_not_if_it_was_there_without_its_runs(here):
    progress, jobs, (run, *_) = here
    report = progress.results / f"jobs/{next(iter(jobs))}.json"
    report.parent.mkdir(parents=True)
    report.touch()
    os.utime(report, (9, 9))
    assert progress.look(jobs).trained == 0
    report.unlink()  # as Snakemake does before the job begins
    assert progress.look(jobs).trained == 0
    report.touch()
    assert progress.look(jobs).trained == 1
    assert run in progress.trained


def test_the_time_left_is_corrected_by_what_is_measured_and_shared_by_slots(here, monkeypatch):
    progress, jobs, (run, second, third) = here
    costs = [START + progress.estimates[run] for run in (run, second, third)]
    all_of_it = pytest.approx(max(costs[2], costs[0] + costs[1]))
    began = time.time()
    for later in (0, 1000):  # until a job trains, time tells nothing of its pace
        monkeypatch.setattr(time, "time", lambda later=later: began + later)
        assert progress.look(jobs).left == all_of_it
    write(progress, jobs, run, epoch=1)
    assert progress.look(jobs).left < sum(costs)
    monkeypatch.setattr(time, "time", lambda: began + 1100)
    write(progress, jobs, run)
    assert progress.look(jobs).left > 3 * sum(costs)


def test_what_will_not_fit_is_said_before_anything_starts(tmp_path):
    """A seed of an absurdly wide model needs more memory than any machine has."""
    raw = {"sweeps": {"wide": {"embed_dim": [768, 768_000]}}}
    config = Config.parse(raw).executed(submitted=False)
    products = Products(config, tmp_path)
    progress = Progress(config, products.sweeps, products.runs, slots=1)
    jobs = training_jobs(config, products.sweeps)
    first, second = outlook(progress, jobs)
    assert first.startswith("2 grid points to train in ")
    assert second.startswith("will not fit: wide: d = 768000: a seed needs ")
