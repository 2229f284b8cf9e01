"""A training job is killed, stopped and starved of space: nothing is lost, nothing is half done.

A grid point that fails, dies or is stopped costs the job's other grid points nothing.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from processes import kill, output_of, start_in_a_group, wait_for
from reversal_curse.config.file import Config
from reversal_curse.config.grid import dataset_directory, read_sweeps, run_directory
from reversal_curse.jobs.training_jobs import training_jobs
from reversal_curse.tables.dataset import generate_dataset
from reversal_curse.tables.files import write_table
from reversal_curse.tables.run_files import table_files
from reversal_curse.tables.schemas import TABLES

SIZE = {"layers": 1, "heads": 1, "embed_dim": 16, "vocab_size": 40, "seeds": 2}
BASE = {"task": "facts", "family": "masked_diffusion", **SIZE, "learning_rate": 0.001}
BASE |= {"epochs": 200, "eval_every": 50}
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
        ((name, job),) = training_jobs(read, read_sweeps(read)).items()
        options = (name, "--config", "config.yaml", "--report", "report.json")
        self.command = [sys.executable, "-m", "reversal_curse", "train-job", *options]
        self.command += ["--checkpoint-minutes", "0"]
        self.points = list(job.points.values())
        self.root = directory / "results"
        self.saved = self.root / "checkpoints"
        for settings in self.points:
            path = self.root / "data" / dataset_directory(settings) / "dataset.parquet"
            write_table(path, generate_dataset(settings), TABLES["dataset"])

    def start(self, **environment: str) -> subprocess.Popen:
        return start_in_a_group(self.command, self.directory, {**os.environ, **environment})

    def finish(self, process: subprocess.Popen | None = None, status: int = 0) -> str:
        """Wait until it ends; return its output. Only if all points are trained it has a report."""
        output = output_of(process or self.start(), status)
        assert (self.directory / "report.json").exists() == (status == 0)
        return output

    def run(self, point: int) -> Path:
        return self.root / "runs" / run_directory(self.points[point])

    def log(self, point: int) -> str:
        path = self.run(point) / "train.log"
        return path.read_text() if path.exists() else ""

    def tables(self, point: int) -> dict[str, bytes]:
        """Read the tables that have their final names."""
        return {path.name: path.read_bytes() for path in self.run(point).glob("[!.]*.parquet")}

    def trained(self) -> list[bool]:
        return [(self.run(i) / "run.json").exists() for i in range(len(self.points))]

    def checkpoints(self) -> list[Path]:
        return list(self.saved.glob("*/*/[0-9]*.pt"))


@pytest.fixture
def make_job(tmp_path):
    """Make a job of some points, each given by its differences from BASE."""
    return lambda *points: Job(tmp_path, *points)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Job:
    """A job of FIRST and SECOND that nothing disturbed, with the seconds that it took."""
    job = Job(tmp_path_factory.mktemp("undisturbed"), FIRST, SECOND)
    started = time.monotonic()
    job.finish()
    job.seconds = time.monotonic() - started
    for point, settings in enumerate(job.points):
        assert job.tables(point).keys() == {*table_files(settings)}
    assert not list(job.saved.iterdir())
    return job


def kill_at(moment: str, job: Job, seconds: float) -> None:
    """Kill the job after some seconds, or as soon as a checkpoint or a table is being written."""
    process = job.start()
    deadline = time.monotonic() + seconds
    partial = {"checkpoint": (job.saved, "*/.*partial*"), "table": (job.run(0), ".*partial*")}
    while time.monotonic() < deadline and process.poll() is None:
        if moment in partial and any(partial[moment][0].glob(partial[moment][1])):
            break
        time.sleep(0.001)
    kill(process) if process.poll() is None else process.communicate()


def test_after_a_kill_at_any_moment_the_next_job_ends_as_if_nothing_had_happened(make_job, whole):
    job = make_job(FIRST)
    seed = int(os.environ.get("FAULT_SEED", time.time_ns() % 10**6))
    print(f"FAULT_SEED={seed}")
    draw = random.Random(seed)
    moments = {"checkpoint": whole.seconds, "table": whole.seconds}
    moments |= {f"any {number}": draw.uniform(0, 0.8 * whole.seconds) for number in range(3)}
    for moment in draw.sample([*moments], len(moments)):
        kill_at(moment, job, moments[moment])
        assert (
            job.tables(0).items() <= whole.tables(0).items()
        )  # a table with its final name is complete
        if job.trained() == [True]:
            shutil.rmtree(job.run(0))
    job.finish()
    assert job.tables(0) == whole.tables(0)
    assert not job.checkpoints()


def test_a_job_stopped_by_its_time_limit_or_a_signal_goes_on_where_it_stopped(make_job, whole):
    job = make_job(FIRST, SECOND)
    process = job.start(SLURM_JOB_END_TIME=str(int(time.time())))
    assert "stopped with 0 of 2 grid points finished" in job.finish(process, status=75)
    assert "stopped by the end of the job's time after epoch 1 of 200" in job.log(0)
    for resumed, number in enumerate((signal.SIGTERM, signal.SIGINT, signal.SIGHUP)):
        process = job.start()
        wait_for(lambda: "epoch 0 of" in job.log(1))
        wait_for(lambda n=resumed: job.log(1).count("going on after") == n)
        os.killpg(process.pid, number)  # to all processes, as Ctrl-C does: it counts once
        output = job.finish(process, status=128 + number)
        last = output.splitlines()[-1]
        assert last.startswith("stopped with 1 of 2 grid points finished; progress is")
        assert f"stopped by {number.name} after epoch" in job.log(1)
        assert "Traceback" not in output + job.log(1)
        assert job.trained() == [True, False]
    job.finish()
    assert "going on after epoch 1 of 200" in job.log(0)
    assert job.log(1).count("going on after epoch") == 3
    assert [job.tables(0), job.tables(1)] == [whole.tables(0), whole.tables(1)]


def test_a_second_signal_acts_at_once(make_job):
    """Signals go to the watching process alone, which passes them on."""
    slow = {"vocab_size": 2000, "batch_size": 1, "layers": 12, "compile": "never"}
    job = make_job(slow)  # an epoch takes seconds
    process = job.start()
    wait_for(lambda: "epoch 0 of" in job.log(0))
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    time.sleep(2.5)  # too late for an echo of the first, within an epoch
    process.send_signal(signal.SIGTERM)
    job.finish(process, status=128 + signal.SIGTERM)
    assert time.monotonic() - started < 30
    assert "stopped by" not in job.log(0)


def test_two_jobs_at_once_leave_the_same_tables_as_one(make_job, whole):
    job = make_job(FIRST, SECOND)
    for process in [job.start(), job.start()]:
        job.finish(process)
    assert [job.tables(0), job.tables(1)] == [whole.tables(0), whole.tables(1)]
    assert not job.checkpoints()


def worker_of(process: subprocess.Popen) -> int | None:
    """Find the process that trains: the one below `process`."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0]) if children else None


def test_a_process_that_dies_takes_only_the_point_that_it_was_training(make_job, whole):
    """The system kills it if memory runs out; a library may crash."""
    job = make_job(FIRST, LONG, {**LONG, **SECOND}, SECOND)
    process = job.start()
    for point, number in ((1, signal.SIGKILL), (2, signal.SIGSEGV)):
        wait_for(lambda point=point: "epoch 0 of" in job.log(point))
        os.kill(wait_for(lambda: worker_of(process)), number)
    output = job.finish(process, status=1)
    for name in ("SIGKILL", "SIGSEGV"):
        assert f"failed: its process died ({name})" in output
    assert "2 of 4 grid points failed; the others are kept" in output.splitlines()[-1]
    assert job.trained() == [True, False, False, True]
    assert [job.tables(0), job.tables(3)] == [whole.tables(0), whole.tables(1)]


# FIRST fails in an unexpected way in every Python process that imports this.
DEFECT = """
import os, signal, time
from reversal_curse.families import FAMILIES, Family

load_start = Family.load_start
Family.load_start = lambda family: start

def start(settings, dataset, device):
    if settings.pos_encoding != "none":
        return load_start(FAMILIES["masked_diffusion"])(settings, dataset, device)
    if os.environ["HOW"] == "asked to stop":
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(0.5)
    if os.environ["HOW"] == "silently":
        os._exit(3)
    if os.environ["HOW"] == "a panic":
        raise type("Panic", (BaseException,), {})  # as that of polars
    raise RuntimeError("a context is lost")
"""


@pytest.mark.parametrize(
    ("how", "status", "said", "trained"),
    [
        (
            "an error",
            1,
            "failed: RuntimeError | the others go on in a fresh process",
            [False, True],
        ),
        ("a panic", 1, "failed: Panic", [False, True]),
        ("silently", 1, "failed: its process died (status 3)", [False, True]),
        ("asked to stop", 143, "stopped by SIGTERM", [False, False]),
    ],
)
def test_after_a_defect_the_others_go_on_in_a_fresh_process_unless_asked_to_stop(
    make_job, whole, how, status, said, trained
):
    """On a GPU a defect may leave memory that is never freed, or a lost context."""
    job = make_job(FIRST, SECOND)
    (job.directory / "sitecustomize.py").write_text(DEFECT)
    path = f"{job.directory}:{os.environ.get('PYTHONPATH', '')}"
    output = job.finish(job.start(HOW=how, PYTHONPATH=path), status)
    assert all(text in output for text in said.split(" | "))
    assert ("Traceback" in job.log(0)) == (how != "silently")
    assert job.trained() == trained
    assert job.tables(1) == (whole.tables(1) if trained[1] else {})


def finish_with_mounted(job: Job, folder: Path, options: str, status: int) -> tuple[str, list[str]]:
    """Run the job with a file system over a folder of its own; skip if mounting is forbidden.

    Return what the job printed and what it left there.
    """
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    folder.mkdir(parents=True)
    mount = f"mount -t tmpfs -o {options} tmpfs '{folder}'"
    script = f"{mount}; \"$@\"; status=$?; ls -A '{folder}' > left; exit $status"
    command = ["unshare", "-rm", "sh", "-c", script, "sh", *job.command]
    output = job.finish(start_in_a_group(command, job.directory, os.environ), status)
    return output, (job.directory / "left").read_text().split()


@pytest.mark.parametrize(
    ("options", "said"), [("size=12k", "No space left on device"), ("ro", "Read-only file system")]
)
def test_a_full_or_read_only_folder_gives_one_line_and_the_next_job_goes_on(
    make_job, whole, options, said
):
    job = make_job(FIRST)
    output, left = finish_with_mounted(job, job.run(0), options, status=1)
    assert said in output
    assert "Traceback" not in output
    assert "run.json" not in left
    assert not [name for name in left if "partial" in name]
    reached = bool(job.checkpoints())
    assert reached == (options != "ro")
    job.finish()
    assert ("going on after epoch" in job.log(0)) == reached
    assert job.tables(0) == whole.tables(0)


def test_when_only_checkpoints_find_no_space_training_goes_on_with_a_warning(make_job, whole):
    job = make_job(FIRST)
    finish_with_mounted(job, job.saved, "size=8k", status=0)
    assert "warning: " in job.log(0)
    assert "no checkpoint after epoch 1" in job.log(0)
    assert job.tables(0) == whole.tables(0)
