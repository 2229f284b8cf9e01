"""Faults of the whole workflow, one at a time: damage, signals and odd surroundings.

`pytest tests/battery/test_faults.py` takes half an hour on two cores. One call after the fault, all
tables and figures are the same bytes, and nothing is left to do.
"""

import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from faults.conftest import TINY, Workflow, assert_one_call_mends, copy, finished, made, workflow
from processes import output_of, start_in_a_group, wait_for

__all__ = ["copy", "finished", "workflow"]

ALL = ".snakemake/metadata results/made results/runs results/jobs results/figures results/data"
RECORDS = "results/runs/**/run.json"


def each(pattern: str, damage: Callable[[Path], None]) -> Callable[[Path], None]:
    """Damage all files that match."""

    def damage_all(folder: Path) -> None:
        found = [path for path in folder.glob(pattern) if path.is_file()]
        assert found
        for path in found:
            damage(path)

    return damage_all


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def leave_partial(path: Path) -> None:
    path.with_name(f".123.partial.{path.name}").write_bytes(path.read_bytes())


def lock(folder: Path) -> None:
    """Leave the lock of a Snakemake that was killed, and work for the next one."""
    (folder / ".snakemake/locks").mkdir(exist_ok=True)
    (folder / ".snakemake/locks/0.output.lock").write_text("results/metrics.parquet\n")
    (folder / "results/metrics.parquet").unlink()


def put_a_folder_in_place(folder: Path) -> None:
    figure = folder / "results/figures/reversal_curve.pdf"
    figure.unlink()
    figure.mkdir()


DAMAGE = {
    f"{damage.__name__} {place}": each(f"{place}/**/*", damage)
    for place in ALL.split()
    for damage in (empty, halve)
}
DAMAGE |= {
    f"no {place}": lambda folder, place=place: shutil.rmtree(folder / place)
    for place in [*ALL.split(), ".snakemake", "results/logs", "results/configs"]
}
DAMAGE |= {
    "records of other files": each(RECORDS, lambda path: path.write_text("[]")),
    "times of 1970": each("results/**/*", lambda path: os.utime(path, (0, 0))),
    "partial files": each("results/**/*.parquet", leave_partial),
    "a dead lock": lock,
    "a folder in place of a figure": put_a_folder_in_place,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_one_call_mends_damage(copy, finished, damage):
    damage(copy.directory)
    assert_one_call_mends(copy, made(finished[0]))


LONG = {"defaults": {**TINY["defaults"], "epochs": 3000, "eval_every": 1000}}


@pytest.fixture(scope="module")
def undisturbed(root, tmp_path_factory) -> Workflow:
    """A training of some seconds."""
    made = Workflow(root, tmp_path_factory.mktemp("undisturbed"))
    made.write_config(**LONG)
    made.snakemake()
    return made


def processes_of(folder: Path, words: str) -> list[int]:
    """List the processes that work in a folder and have some words in their command."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if words in (process / "cmdline").read_text().replace("\0", " "):
                found += [int(process.name)] * (os.readlink(process / "cwd") == str(folder))
    return found


def starting(workflow: Workflow) -> bool:
    return (workflow.directory / ".snakemake/log").exists()


def training(workflow: Workflow) -> bool:
    return any("epoch 0 of" in path.read_text() for path in workflow.find("runs/**/train.log"))


def to_group(number: int) -> Callable[[int, Path], None]:
    return lambda process, folder: os.killpg(process, number)


def to_snakemake(number: int) -> Callable[[int, Path], None]:
    return lambda process, folder: os.kill(process, number)


def trainers(folder: Path) -> list[int]:
    """List the processes that train: the forks of those that watch."""
    processes = processes_of(folder, "reversal_curse train-job")
    return [one for one in processes if psutil.Process(one).cmdline() == parent(one).cmdline()]


def watchers(folder: Path) -> list[int]:
    return [parent(one).pid for one in trainers(folder)]


def parent(process: int) -> psutil.Process:
    return psutil.Process(psutil.Process(process).ppid())


def to_step(find: Callable[[Path], list[int]], number: int) -> Callable[[int, Path], None]:
    return lambda process, folder: [os.kill(one, number) for one in find(folder)]


def limit_memory(process: int, folder: Path) -> None:
    """Let the process that trains get no more memory than it has."""
    (worker,) = trainers(folder)
    pages = int(Path(f"/proc/{worker}/statm").read_text().split()[0])
    most = pages * resource.getpagesize()
    resource.prlimit(worker, resource.RLIMIT_AS, (most, most))


SIGNALS = [signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGKILL]
STOPS = {f"{n.name} to all": (training, to_group(n)) for n in SIGNALS}
STOPS |= {f"{n.name} to all at the start": (starting, to_group(n)) for n in SIGNALS}
STOPS |= {f"{n.name} to Snakemake": (training, to_snakemake(n)) for n in SIGNALS}
STOPS |= {
    f"{n.name} to {who}": (training, to_step(find, n))
    for n in (signal.SIGKILL, signal.SIGSEGV)
    for who, find in {"the trainer": trainers, "its watcher": watchers}.items()
}
STOPS["no more memory"] = (training, limit_memory)


@pytest.mark.parametrize(("moment", "stop"), STOPS.values(), ids=STOPS)
def test_one_call_goes_on_after_a_stop(workflow, undisturbed, moment, stop):
    workflow.write_config(**LONG)
    workflow.lock = True
    process = workflow.start()
    wait_for(lambda: moment(workflow))
    stop(process.pid, workflow.directory)
    process.communicate()
    # Whoever was not told goes on.
    wait_for(lambda: not processes_of(workflow.directory, "reversal_curse train-job"))
    assert_one_call_mends(workflow, made(undisturbed))
    assert not workflow.find("checkpoints/*")


SURROUNDINGS = {
    "umask 077": ["sh", "-c", 'umask 077; exec "$@"', "sh"],
    "no HOME": ["env", "-u", "HOME", "-u", "USER", "-u", "LOGNAME"],
    "nothing set": ["env", "-i", "PATH=/usr/bin:/bin"],
    "locale C": ["env", "LC_ALL=C"],
    "no UTF-8": ["env", "LC_ALL=C", "PYTHONUTF8=0", "PYTHONCOERCECLOCALE=0"],
    "another user": [
        *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
        # To get at the interpreter, which may be in a folder of root.
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    ],
}


@pytest.mark.parametrize("before", SURROUNDINGS.values(), ids=SURROUNDINGS)
@pytest.mark.parametrize("name", ["plain", "ä b'$x;&{y}"])
def test_surroundings_change_nothing(workflow, finished, before, name):
    folder = workflow.directory / name
    folder.mkdir()
    shutil.copy(finished[0].config_file, folder)
    home = []
    if before[0] == "setpriv":
        if os.getuid():
            pytest.skip("NOT TESTED: only root may become another user")
        home = ["env", f"HOME={folder}"]
        for path in (folder, *folder.parents[:3], folder / "config.yaml"):
            path.chmod(0o755)
        os.chown(folder, 65534, 65534)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(workflow.root / "Snakefile")]
    command += ["--cores", "2", "--directory", str(folder)]
    command += ["--configfile", str(folder / "config.yaml")]
    output_of(start_in_a_group([*before, *home, *command], workflow.root, dict(os.environ)))
    assert made(replace(workflow, directory=folder)) == made(finished[0])


@pytest.mark.parametrize("lock", [True, False])
def test_two_configs_at_once_in_one_folder_end_as_one_after_the_other(workflow, finished, lock):
    """With locks, the one that begins later may be refused until the other is done."""
    workflow.lock = lock
    other = workflow.directory / "other.yaml"
    other.write_text("name: other\n" + workflow.config_file.read_text())
    processes = [workflow.start(), workflow.start("--configfile", str(other))]
    outputs = [process.communicate()[0] for process in processes]
    refused = [process.returncode for process in processes].count(1)
    assert refused <= lock, outputs
    workflow.snakemake("--configfile", str(other))
    workflow.snakemake()
    whole, found = made(finished[0]), made(workflow)
    own = [path for path in whole if {"data", "runs"}.isdisjoint(path.parts)]
    twins = {Path("results/other", *path.parts[1:]): whole[path] for path in own}
    assert found == whole | twins
