"""The whole workflow meets damage, a clock that goes back, a closed terminal, odd surroundings.

One call later all tables and figures are the same bytes. `tests/battery` has more such faults.
"""

import os
import pty
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from faults.conftest import TINY, assert_one_call_mends, made
from processes import output_of, start_in_a_group, wait_for


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def lose_power(results: Path) -> None:
    """Leave every file empty, as some file systems do with what was not yet on the disk."""
    for path in files(results):
        path.write_bytes(b"")


def set_the_clock_back(results: Path) -> None:
    """Give every file a time to come, and lose a run and a table that are made from others."""
    for path in files(results):
        os.utime(path, (time.time() + 1e5,) * 2)
    shutil.rmtree(next(results.glob("runs/*/family=gpt")))
    (results / "metrics.parquet").unlink()


@pytest.mark.parametrize("fault", [lose_power, set_the_clock_back])
def test_after_a_fault_of_the_machine_one_call_makes_the_same_again(copy, finished, fault):
    fault(copy.directory / "results")
    assert_one_call_mends(copy, made(finished[0]))


def test_results_moved_to_another_file_system_are_complete(copy, tmp_path):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("NOT TESTED: no second file system here")
    moved = memory / f"reversal-curse-{os.getpid()}"
    try:
        shutil.copytree(copy.directory / "results", moved / "results")
        elsewhere = replace(copy, directory=moved)
        shutil.copy(copy.config_file, elsewhere.config_file)
        assert elsewhere.jobs() == {}
    finally:
        shutil.rmtree(moved)


def test_a_closed_terminal_stops_training_which_then_goes_on(workflow):
    config = {"defaults": {**TINY["defaults"], "epochs": 4000, "eval_every": 2000}}
    workflow.write_config(**config)
    logs = workflow.directory / "results/runs"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(workflow.root / "Snakefile")]
    command += ["metrics", "--directory", str(workflow.directory), "--configfile"]
    command += [str(workflow.config_file)]
    process, terminal = pty.fork()
    if not process:
        os.chdir(workflow.root)
        os.execv(sys.executable, command)
    wait_for(lambda: any("epoch 0 of" in path.read_text() for path in logs.rglob("train.log")))
    os.close(terminal)
    os.waitpid(process, 0)
    log = next(logs.rglob("train.log"))
    wait_for(lambda: "stopped by SIGHUP" in log.read_text())
    workflow.lock = True
    workflow.snakemake("metrics")
    assert "going on after epoch" in log.read_text()
    assert workflow.find("metrics.parquet")
    assert not workflow.find("checkpoints/*")


SHADOWS = "ast json logging numpy polars pickle random reversal_curse snakemake tasks torch typing"


def test_a_copied_checkout_runs_its_own_package_in_any_surroundings(root, finished, tmp_path):
    """Its folder has an odd name and modules like ours; no HOME, umask 077, locale C."""
    checkout = tmp_path / "a copy of Jürgen's & $mine"
    checkout.mkdir()
    left_out = shutil.ignore_patterns("*.egg-info", "__pycache__")
    for name in ("workflow", "config", "profiles", "src"):
        shutil.copytree(root / name, checkout / name, ignore=left_out)
    for path in (root / "Snakefile", finished[0].config_file):
        shutil.copy(path, checkout)
    version = checkout / "src/reversal_curse/version.py"
    version.write_text(version.read_text().replace('VERSION = "', 'VERSION = "9.9.'))
    for name in SHADOWS.split():
        (checkout / f"{name}.py").write_text(f"raise SystemExit('{name} of the working directory')")
    run = 'umask 077; "$0" --configfile config.yaml --cores 2'
    command = ["sh", "-c", run, str(Path(sys.executable).with_name("snakemake"))]
    output_of(start_in_a_group(command, checkout, {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}))
    here = replace(finished[0], directory=checkout)
    assert made(here) == made(finished[0])
    for record in here.find("runs/**/run.json"):
        assert '"reversal_curse": "9.9.' in record.read_text()
        assert not record.stat().st_mode & 0o077


@pytest.mark.parametrize("name", ["a:b", "{a}"])
def test_a_checkout_with_a_path_that_cannot_work_gives_one_line(copy, tmp_path, name):
    (tmp_path / name).symlink_to(copy.root)
    output = replace(copy, root=tmp_path / name).snakemake("--dry-run", status=1)
    assert output.splitlines()[-1].startswith("the checkout's path must be without : { and }, got")
    assert "Traceback" not in output
