"""Several grid points in one job: what fails, dies or is stopped costs the others nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from reversal_curse.runs import run_files
from reversal_curse.settings import Settings
from reversal_curse.sweep import canonical, dataset_directory, run_directory
from reversal_curse.tables import TABLES, write_table
from reversal_curse.tasks.dataset import generate_dataset

BASE = {"layers": 1, "heads": 1, "embed_dim": 8, "vocab_size": 20, "seeds": 2, "epochs": 100}
POINTS = [
    canonical(Settings(**BASE, pos_encoding=encoding).model_dump())
    for encoding in ("none", "absolute", "rotary")
]
LONG = canonical(Settings(**{**BASE, "epochs": 100_000, "eval_every": 50_000}).model_dump())


@dataclass
class Job:
    """`python -m reversal_curse train-pack`, in a directory of its own."""

    directory: Path

    def start(self, points: list[Settings], *more: str) -> subprocess.Popen:
        for settings in points:
            path = self.directory / "data" / dataset_directory(settings) / "dataset.parquet"
            if not path.exists():
                write_table(path, generate_dataset(settings), TABLES["dataset"])
        command = [
            *(sys.executable, "-m", "reversal_curse", "train-pack"),
            *("--points", json.dumps([settings.model_dump() for settings in points])),
            *("--data", "data", "--trained", "trained", "--checkpoints", "checkpoints"),
            *("--logs", "logs", "--report", "report.json", "--checkpoint-minutes", "0", *more),
        ]
        return subprocess.Popen(
            command,
            cwd=self.directory,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def finish(self, points: list[Settings], *more: str) -> tuple[int, str]:
        process = self.start(points, *more)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def outcomes(self, points: list[Settings]) -> list[str]:
        found = json.loads((self.directory / "report.json").read_text())
        return [found[run_directory(settings)] for settings in points]

    def run(self, settings: Settings) -> Path:
        return self.directory / "trained" / run_directory(settings)

    def tables(self, settings: Settings) -> dict[str, bytes]:
        names = [name for name in run_files(settings) if name.endswith(".parquet")]
        return {name: (self.run(settings) / name).read_bytes() for name in names}

    def log(self, settings: Settings) -> str:
        return (self.directory / "logs" / f"{run_directory(settings)}.log").read_text()


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> list[dict[str, bytes]]:
    """The tables of each grid point trained in a job of its own."""
    tables = []
    for settings in POINTS:
        job = Job(tmp_path_factory.mktemp("alone"))
        status, output = job.finish([settings])
        assert status == 0, output
        tables.append(job.tables(settings))
    return tables


def worker_of(process: subprocess.Popen) -> int:
    """The process that trains: the only one below `process` that has imported torch."""
    while True:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
        time.sleep(0.01)


def wait_for_checkpoint(job: Job) -> None:
    deadline = time.monotonic() + 60
    while not list(job.directory.glob("checkpoints/*/[0-9]*.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_points_trained_one_after_the_other_are_those_trained_alone(job, alone):
    status, output = job.finish(POINTS)
    assert status == 0, output
    assert job.outcomes(POINTS) == ["trained"] * 3
    assert [job.tables(settings) for settings in POINTS] == alone
    assert "epoch 100 of 100" in job.log(POINTS[1])
    assert not list((job.directory / "checkpoints").iterdir())


def test_a_point_that_fails_is_reported_and_the_others_are_trained(job, alone):
    dataset = job.directory / "data" / dataset_directory(LONG) / "dataset.parquet"
    dataset.parent.mkdir(parents=True)
    other = canonical(Settings(**{**BASE, "vocab_size": 24}).model_dump())
    write_table(dataset, generate_dataset(LONG), TABLES["dataset"])
    broken = job.directory / "data" / dataset_directory(other) / "dataset.parquet"
    write_table(broken, generate_dataset(LONG), TABLES["dataset"])
    points = [POINTS[0], other, POINTS[1]]
    status, output = job.finish(points, "--attempts-left", "1")
    assert status == 1
    assert "1 of 3 grid points failed and are tried again" in output.splitlines()[-1]
    assert "Traceback" not in output
    assert not (job.directory / "report.json").exists()
    status, output = job.finish(points)
    assert status == 0, output
    first, second, third = job.outcomes(points)
    assert (first, third) == ("trained", "trained")
    assert second.startswith("failed: ")
    assert "not the dataset of" in second
    assert [job.tables(POINTS[0]), job.tables(POINTS[1])] == alone[:2]
    assert job.log(POINTS[0]).count("epoch 100 of 100") == 1  # trained once


def test_a_process_that_dies_takes_only_the_point_that_it_was_at(job, alone):
    points = [POINTS[0], LONG, POINTS[2]]
    process = job.start(points)
    wait_for_checkpoint(job)
    while not (job.run(POINTS[0]) / "run.json").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(worker_of(process), signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert job.outcomes(points) == [
        "trained",
        "failed: its process died (SIGKILL)",
        "trained",
    ]
    assert [job.tables(POINTS[0]), job.tables(POINTS[2])] == [alone[0], alone[2]]


# A family that fails in a way nobody foresaw, which every Python process below finds.
DEFECT = """
import os, signal, sys, time
from reversal_curse import registry

one = registry.FAMILIES["gpt"]
registry.FAMILIES["defect"] = registry.Family("sitecustomize:start", "", one.uses, one.tasks)

def start(settings, dataset, device):
    if "ASK" in os.environ:
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(0.5)
    if "LEAVE" in os.environ:
        os._exit(70)
    raise RuntimeError("a context is lost")
"""


def finish_with_a_defect(job: Job, monkeypatch, **environment: str) -> tuple[int, str]:
    """A job of a grid point of the family above and one of POINTS."""
    monkeypatch.setenv("PYTHONPATH", str(job.directory))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (job.directory / "sitecustomize.py").write_text(DEFECT)
    defect = POINTS[0].model_copy(update={"family": "defect"})
    return job.finish([defect, POINTS[1]])


def test_after_an_error_that_nobody_foresaw_the_others_go_on_in_a_fresh_process(
    job, alone, monkeypatch
):
    """On a GPU it may have left memory that is never freed, or a context that is lost."""
    status, output = finish_with_a_defect(job, monkeypatch)
    assert status == 0, output
    outcomes = json.loads((job.directory / "report.json").read_text())
    assert list(outcomes.values()) == ["failed: RuntimeError", "trained"]
    assert "the others go on in a fresh process" in output
    (log,) = job.directory.glob("logs/*/family=defect/**/*.log")
    assert "RuntimeError: a context is lost" in log.read_text()
    assert job.tables(POINTS[1]) == alone[1]


def test_a_process_that_ends_without_a_word_is_not_started_again_for_ever(job, alone, monkeypatch):
    status, output = finish_with_a_defect(job, monkeypatch, LEAVE="1")
    assert status == 0, output
    outcomes = json.loads((job.directory / "report.json").read_text())
    assert list(outcomes.values()) == ["failed: its process died (status 70)", "trained"]


def test_asked_to_stop_while_it_fails_it_stops(job, monkeypatch):
    status, output = finish_with_a_defect(job, monkeypatch, ASK="1")
    assert status == 128 + signal.SIGTERM, output
    assert "stopped with 0 of 2 grid points finished" in output.splitlines()[-1]
    assert not (job.directory / "report.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_asked_to_stop_it_keeps_what_it_reached(job, number):
    points = [POINTS[0], LONG]
    process = job.start(points)
    while not (job.run(POINTS[0]) / "run.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    wait_for_checkpoint(job)
    if number == signal.SIGINT:  # Ctrl-C goes to every process of a terminal
        os.kill(worker_of(process), number)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert "stopped with 1 of 2 grid points finished" in output.splitlines()[-1]
    assert f"stopped by {number.name} after epoch" in job.log(LONG)
    assert not (job.directory / "report.json").exists()
    assert list(job.directory.glob("checkpoints/*/[0-9]*.pt"))


def test_a_signal_that_every_process_of_a_job_gets_is_one_signal(job):
    """As `scancel` sends it; the watching process passes it on as well."""
    process = job.start([LONG])
    wait_for_checkpoint(job)
    os.kill(worker_of(process), signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert "stopped by SIGTERM after epoch" in job.log(LONG)


def test_a_second_signal_acts_at_once(job):
    # An epoch of some hundred steps takes seconds.
    slow = {**BASE, "vocab_size": 4000, "batch_size": 1, "seeds": 10}
    slow = canonical(Settings(**slow).model_dump())
    process = job.start([slow])
    while not (log := job.directory / "logs" / f"{run_directory(slow)}.log").exists() or (
        "epoch 0 of" not in log.read_text()
    ):
        time.sleep(0.05)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    time.sleep(2.5)  # later than an echo, within an epoch
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert time.monotonic() - started < 30
    assert "stopped by" not in log.read_text()


def test_a_list_of_points_that_is_none_is_refused_in_one_line(job):
    for text in ("{", "{}", '[{"task": "none"}]'):
        status, output = job.finish([], "--points", text)
        assert status == 1
        assert len(output.splitlines()) == 1
        assert output.startswith("--points")
