"""A training job killed, stopped and starved; nothing is lost or half there.

What fails, dies or is stopped costs the job's other grid points nothing.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from processes import start_in_a_group
from reversal_curse.config.file import Config
from reversal_curse.config.grid import dataset_directory, read_sweeps, run_directory
from reversal_curse.jobs.training_jobs import training_jobs
from reversal_curse.tables.dataset import generate_dataset
from reversal_curse.tables.files import write_table
from reversal_curse.tables.run_files import run_files
from reversal_curse.tables.schemas import TABLES

KILLS = 8
BASE = {
    "task": "facts",
    "family": "masked_diffusion",
    "layers": 1,
    "heads": 1,
    "embed_dim": 16,
    "vocab_size": 40,
    "seeds": 2,
    "epochs": 400,
    "eval_every": 50,
    "learning_rate": 0.001,
}
FIRST, SECOND = {"pos_encoding": "none"}, {"pos_encoding": "rotary"}
LONG = {"epochs": 100_000, "eval_every": 50_000}


class Job:
    """`python -m reversal_curse train-job` of some grid points, in a directory of its own."""

    def __init__(self, directory: Path, *points: dict):
        self.directory = directory
        config = {"defaults": BASE, "sweeps": {"all": {"points": list(points)}}}
        config["job_minutes"] = 10_000
        (directory / "config.yaml").write_text(yaml.safe_dump(config))
        read = Config.parse(config).executed(submitted=False)
        ((self.name, job),) = training_jobs(read, read_sweeps(read)).items()
        self.points = list(job.points.values())
        self.root = directory / "results"
        self.saved = self.root / "checkpoints"
        for settings in self.points:
            path = self.root / "data" / dataset_directory(settings) / "dataset.parquet"
            write_table(path, generate_dataset(settings), TABLES["dataset"])

    @property
    def command(self) -> list[str]:
        options = {"config": "config.yaml", "job": self.name, "report": "report.json"}
        options |= {"checkpoint-minutes": "0"}
        given = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [sys.executable, "-m", "reversal_curse", "train-job", *given]

    def start(self, **environment: str) -> subprocess.Popen:
        return start_in_a_group(self.command, self.directory, {**os.environ, **environment})

    def finish(self, status: int = 0, **environment: str) -> str:
        """Run it to its end; returns what it printed, without a traceback in it."""
        process = self.start(**environment)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == status, output
        assert (self.directory / "report.json").exists() == (status == 0)
        return output

    def run(self, point: int) -> Path:
        return self.root / "runs" / run_directory(self.points[point])

    def log(self, point: int) -> str:
        path = self.run(point) / "train.log"
        return path.read_text() if path.exists() else ""

    def tables(self, point: int) -> dict[str, bytes]:
        """Those under their own names, whole or not."""
        names = [n for n in run_files(self.points[point]) if n.endswith(".parquet")]
        paths = [self.run(point) / name for name in names]
        return {path.name: path.read_bytes() for path in paths if path.exists()}

    def trained(self) -> list[bool]:
        return [(self.run(i) / "run.json").exists() for i in range(len(self.points))]

    def checkpoints(self) -> list[Path]:
        return list(self.saved.glob("*/[0-9]*.pt"))

    def wait_for_checkpoint_of(self, point: int) -> None:
        """Points train one after the other, and checkpoints go when a run is finished."""
        deadline = time.monotonic() + 60
        while not ("epoch 0 of" in self.log(point) and self.checkpoints()):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def make_job(tmp_path):
    """A job of the points given, each by what differs from BASE."""
    return lambda *points: Job(tmp_path, *points)


@dataclass
class Alone:
    """The tables of FIRST and SECOND, each trained in a job of its own, undisturbed."""

    first: dict[str, bytes]
    second: dict[str, bytes]
    seconds: float


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Alone:
    tables = []
    for point in (FIRST, SECOND):
        job = Job(tmp_path_factory.mktemp("alone"), point)
        started = time.monotonic()
        job.finish()
        assert job.tables(0).keys() == {n for n in run_files(job.points[0]) if n != "run.json"}
        assert not list(job.saved.iterdir())
        tables.append(job.tables(0))
    return Alone(*tables, time.monotonic() - started)


def worker_of(process: subprocess.Popen) -> int:
    """The process that trains: the one below `process` that has imported torch."""
    while True:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                return int(child)
        time.sleep(0.01)


def kill_at_a_moment(job: Job, draw: random.Random, seconds: float) -> None:
    """SIGKILL at a random time, or as soon as a checkpoint or a table is being written."""
    process = job.start()
    moment = draw.choice(["any", "checkpoint", "table"])
    deadline = time.monotonic() + (draw.uniform(0, seconds) if moment == "any" else 2 * seconds)
    folder, depth = {"checkpoint": (job.saved, "*/")}.get(moment, (job.run(0), ""))
    while time.monotonic() < deadline and process.poll() is None:
        if moment != "any" and any(folder.glob(f"{depth}.*partial*")):
            break
        time.sleep(0.001)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_killed_at_any_moment_the_next_job_ends_as_if_nothing_had_happened(make_job, alone):
    job = make_job(FIRST)
    seed = int(os.environ.get("FAULT_SEED", time.time_ns() % 10**6))
    print(f"FAULT_SEED={seed}")
    draw = random.Random(seed)
    for _ in range(KILLS):
        kill_at_a_moment(job, draw, alone.seconds)
        assert job.tables(0).items() <= alone.first.items()  # one under its own name is whole
        if job.trained() == [True]:
            shutil.rmtree(job.run(0))
    job.finish()
    assert job.tables(0) == alone.first
    assert not job.checkpoints()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_asked_to_stop_it_keeps_what_it_reached_and_goes_on_there(make_job, alone, number):
    job = make_job(FIRST, SECOND)
    process = job.start()
    job.wait_for_checkpoint_of(1)
    os.killpg(process.pid, number)  # to every process, as from Ctrl-C and `scancel`: it counts once
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert output.splitlines()[-1].startswith(
        "stopped with 1 of 2 grid points finished; progress is"
    )
    assert f"stopped by {number.name} after epoch" in job.log(1)
    assert "Traceback" not in output + job.log(1)
    assert not (job.directory / "report.json").exists()
    assert job.trained() == [True, False]
    job.finish()
    assert "going on after epoch" in job.log(1)
    assert [job.tables(0), job.tables(1)] == [alone.first, alone.second]


def test_a_signal_to_the_watching_process_alone_is_passed_on(make_job):
    job = make_job(LONG)
    process = job.start()
    job.wait_for_checkpoint_of(0)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "stopped by SIGTERM after epoch" in job.log(0)


def test_a_second_signal_acts_at_once(make_job):
    slow = {"vocab_size": 2000, "batch_size": 1, "layers": 12, "compile": "never"}
    job = make_job(slow)  # an epoch takes seconds
    process = job.start()
    while "epoch 0 of" not in job.log(0):
        time.sleep(0.05)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    time.sleep(2.5)  # later than an echo, within an epoch
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert time.monotonic() - started < 30
    assert "stopped by" not in job.log(0)


def test_before_the_time_of_a_job_is_up_it_stops_with_a_status_of_its_own(make_job, alone):
    job = make_job(FIRST)
    output = job.finish(status=75, SLURM_JOB_END_TIME=str(int(time.time())))
    assert "stopped with 0 of 1 grid points finished" in output
    assert "stopped by the end of the job's time after epoch 1 of 400" in job.log(0)
    job.finish()
    assert "going on after epoch 1 of 400" in job.log(0)
    assert job.tables(0) == alone.first


def test_two_at_once_leave_what_each_point_trained_alone_leaves(make_job, alone):
    job = make_job(FIRST, SECOND)
    for process in [job.start(), job.start()]:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert [job.tables(0), job.tables(1)] == [alone.first, alone.second]
    assert not job.checkpoints()


def test_a_process_that_dies_takes_only_the_point_that_it_was_at(make_job, alone):
    job = make_job(FIRST, LONG, SECOND)
    process = job.start()
    job.wait_for_checkpoint_of(1)
    os.kill(worker_of(process), signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "failed: its process died (SIGKILL)" in output
    assert "1 of 3 grid points failed; the others are kept" in output.splitlines()[-1]
    assert job.trained() == [True, False, True]
    assert [job.tables(0), job.tables(2)] == [alone.first, alone.second]
    assert not (job.directory / "report.json").exists()


# FIRST fails in a way nobody foresaw, in every Python process that finds this.
DEFECT = """
import os, signal, time
from dataclasses import replace
from reversal_curse import families

one = families.FAMILIES["masked_diffusion"]
families.FAMILIES["masked_diffusion"] = replace(one, start="sitecustomize:start")

def start(settings, dataset, device):
    if settings.pos_encoding != "none":
        return one.load_start()(settings, dataset, device)
    if os.environ["HOW"] == "asked to stop":
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(0.5)
    if os.environ["HOW"] == "without a word":
        os._exit(70)
    raise RuntimeError("a context is lost")
"""


@pytest.fixture
def defect(make_job):
    """Run a job whose first point fails so, and whose second is SECOND."""
    job = make_job(FIRST, SECOND)
    (job.directory / "sitecustomize.py").write_text(DEFECT)

    def finish(how: str, status: int) -> tuple[Job, str]:
        path = f"{job.directory}:{os.environ.get('PYTHONPATH', '')}"
        return job, job.finish(status, HOW=how, PYTHONPATH=path)

    return finish


def test_after_an_error_that_nobody_foresaw_the_others_go_on_in_a_fresh_process(defect, alone):
    """On a GPU it may have left memory that is never freed, or a context that is lost."""
    job, output = defect("an error", status=1)
    assert "failed: RuntimeError" in output
    assert "the others go on in a fresh process" in output
    assert "RuntimeError: a context is lost" in job.log(0)
    assert job.trained() == [False, True]
    assert job.tables(1) == alone.second


def test_a_process_that_ends_without_a_word_is_not_started_again_for_ever(defect):
    job, output = defect("without a word", status=1)
    assert "failed: its process died (status 70)" in output
    assert job.trained() == [False, True]


def test_asked_to_stop_while_it_fails_it_stops(defect):
    job, output = defect("asked to stop", status=128 + signal.SIGTERM)
    assert "stopped with 0 of 2 grid points finished" in output.splitlines()[-1]
    assert job.trained() == [False, False]


def finish_with_mounted(job: Job, folder: Path, options: str) -> tuple[int, str, list[str]]:
    """Run the job with a file system over a folder of its own; skip where one may not.

    Returns its status, what it printed and what it left there.
    """
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    folder.mkdir(parents=True)
    mount = f"mount -t tmpfs -o {options} tmpfs '{folder}'"
    script = f"{mount}; \"$@\"; status=$?; ls -A '{folder}' > left; exit $status"
    command = ["unshare", "-rm", "sh", "-c", script, "sh", *job.command]
    process = start_in_a_group(command, job.directory, os.environ)
    output, _ = process.communicate(timeout=120)
    return process.returncode, output, (job.directory / "left").read_text().split()


def test_a_full_disk_is_said_in_one_line_and_the_next_job_goes_on(make_job, alone):
    job = make_job(FIRST)
    status, output, left = finish_with_mounted(job, job.run(0), "size=12k")
    assert status == 1
    assert "No space left on device" in output
    assert "Traceback" not in output
    assert "run.json" not in left
    assert not [name for name in left if "partial" in name]
    assert job.checkpoints()
    job.finish()
    assert "going on after epoch" in job.log(0)
    assert job.tables(0) == alone.first


def test_a_full_disk_for_checkpoints_is_a_warning(make_job, alone):
    job = make_job(FIRST)
    status, output, _ = finish_with_mounted(job, job.saved, "size=8k")
    assert status == 0, output
    assert "warning: " in job.log(0)
    assert "no checkpoint after epoch 1" in job.log(0)
    assert job.tables(0) == alone.first


def test_a_read_only_folder_is_said_in_one_line(make_job):
    job = make_job(FIRST)
    status, output, _ = finish_with_mounted(job, job.run(0), "ro")
    assert status == 1
    assert "Read-only file system" in output
    assert "Traceback" not in output
