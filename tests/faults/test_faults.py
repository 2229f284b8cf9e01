"""Training as a process of its own, killed, stopped and starved; nothing is lost or half there."""

from __future__ import annotations

import json
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

from reversal_curse.registry import run_tables
from reversal_curse.settings import Settings
from reversal_curse.sweep import canonical
from reversal_curse.tables import TABLES, write_table
from reversal_curse.tasks.dataset import generate_dataset

KILLS = 20
SETTINGS = {
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
NAMED = [f"{table}.parquet" for table in run_tables("masked_diffusion")]


@dataclass
class Job:
    """`python -m reversal_curse train` of one grid point, in a directory of its own."""

    directory: Path
    dataset: Path

    @property
    def output(self) -> Path:
        return self.directory / "run"

    def command(self, *more: str) -> list[str]:
        return [
            *(sys.executable, "-m", "reversal_curse", "train"),
            *("--settings", json.dumps(SETTINGS), "--dataset", str(self.dataset)),
            *("--output", str(self.output), "--checkpoints", str(self.directory / "checkpoints")),
            *more,
        ]

    def start(self, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.command("--checkpoint-minutes", "0"),
            env={**os.environ, **environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def finish(self, **environment: str) -> tuple[int, str]:
        process = self.start(**environment)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def tables(self) -> dict[str, bytes]:
        return {name: (self.output / name).read_bytes() for name in NAMED}

    def checkpoints(self) -> list[Path]:
        return sorted((self.directory / "checkpoints").glob("*/[0-9]*.pt"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "dataset.parquet"
    settings = canonical(Settings(**SETTINGS).model_dump())
    write_table(path, generate_dataset(settings), TABLES["dataset"])
    return path


@pytest.fixture
def job(tmp_path, dataset) -> Job:
    return Job(tmp_path, dataset)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, dataset) -> tuple[dict[str, bytes], float]:
    """The tables of a run that nothing happened to, and its seconds."""
    job = Job(tmp_path_factory.mktemp("undisturbed"), dataset)
    started = time.monotonic()
    status, output = job.finish()
    assert status == 0, output
    assert not list((job.directory / "checkpoints").iterdir())
    return job.tables(), time.monotonic() - started


def kill_at_a_moment(process: subprocess.Popen, job: Job, draw: random.Random, seconds: float):
    """SIGKILL at a random time, or as soon as a checkpoint or a table is being written."""
    moment = draw.choice(["any", "checkpoint", "table"])
    deadline = time.monotonic() + (draw.uniform(0, seconds) if moment == "any" else 2 * seconds)
    pattern = {"checkpoint": "checkpoints/*/.*partial*", "table": "run/.*partial*"}.get(moment)
    while time.monotonic() < deadline and process.poll() is None:
        if pattern and any(job.directory.glob(pattern)):
            break
        time.sleep(0.001)
    process.kill()
    process.communicate()


def test_killed_at_any_moment_the_next_run_ends_as_if_nothing_had_happened(job, undisturbed):
    expected, seconds = undisturbed
    seed = int(os.environ.get("FAULT_SEED", time.time_ns() % 10**6))
    print(f"FAULT_SEED={seed}")
    draw = random.Random(seed)
    for _ in range(KILLS):
        process = job.start()
        kill_at_a_moment(process, job, draw, seconds)
        for name in NAMED:  # a table under its own name is a whole one
            if (job.output / name).exists():
                assert (job.output / name).read_bytes() == expected[name], f"FAULT_SEED={seed}"
        if draw.random() < 0.3:  # Snakemake deletes the outputs of a job that failed
            shutil.rmtree(job.output, ignore_errors=True)
    status, output = job.finish()
    assert status == 0, output
    assert job.tables() == expected, f"FAULT_SEED={seed}"
    assert not job.checkpoints()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_asked_to_stop_it_keeps_what_it_reached_and_says_so(job, undisturbed, number):
    process = job.start()
    while not job.checkpoints():
        time.sleep(0.01)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    last = output.splitlines()[-1]
    assert last.startswith(f"stopped by {number.name} after epoch ")
    assert "run it again to go on" in last
    assert "Traceback" not in output
    assert not job.output.exists()
    status, output = job.finish()
    assert status == 0
    assert "going on after epoch" in output
    assert job.tables() == undisturbed[0]


def test_before_the_time_of_a_job_is_up_it_stops_with_a_status_of_its_own(job, undisturbed):
    status, output = job.finish(SLURM_JOB_END_TIME=str(int(time.time())))
    assert status == 75
    assert "stopped by the end of the job's time after epoch 1 of 400" in output
    status, output = job.finish()
    assert status == 0
    assert "going on after epoch 1 of 400" in output
    assert job.tables() == undisturbed[0]


def test_two_at_once_do_not_disturb_each_other(job, undisturbed):
    first, second = job.start(), job.start()
    for process in (first, second):
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert job.tables() == undisturbed[0]


def in_namespace(script: str, job: Job, *more: str) -> subprocess.CompletedProcess:
    """Run the job where `script` has mounted something over its output; skip where one may not."""
    trial = subprocess.run(["unshare", "-rm", "true"], capture_output=True)
    if trial.returncode:
        pytest.skip("mounting is not allowed here")
    job.output.mkdir()
    listing = job.directory / "listing"
    command = f'{script}; "$@"; status=$?; ls -A {job.output} > {listing}; exit $status'
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, "sh", *job.command(*more)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )


def test_a_full_disk_is_said_in_one_line_and_the_next_run_goes_on(job, undisturbed):
    mount = f"mount -t tmpfs -o size=8k tmpfs {job.output}"
    done = in_namespace(mount, job, "--checkpoint-minutes", "0")
    assert done.returncode == 1
    assert "No space left on device" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout
    left = (job.directory / "listing").read_text().split()
    assert not [name for name in left if "partial" in name]
    assert "run.json" not in left
    assert job.checkpoints()
    status, output = job.finish()
    assert status == 0
    assert "going on after epoch" in output
    assert job.tables() == undisturbed[0]


def test_a_full_disk_for_checkpoints_is_a_warning(job, undisturbed):
    folder = job.directory / "checkpoints"
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=8k tmpfs {folder}"
    done = in_namespace(mount, job, "--checkpoint-minutes", "0")
    assert done.returncode == 0, done.stdout
    assert "warning: " in done.stdout
    assert "no checkpoint after epoch 1" in done.stdout
    assert job.tables() == undisturbed[0]


def test_a_read_only_folder_is_said_in_one_line(job):
    done = in_namespace(f"mount -t tmpfs -o ro tmpfs {job.output}", job)
    assert done.returncode == 1
    assert "Read-only file system" in done.stdout.splitlines()[-1]
    assert "Traceback" not in done.stdout
