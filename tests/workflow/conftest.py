"""Run the real Snakemake on the real workflow, each test in its own directory."""

import fcntl
import os
import shutil
import subprocess
import sys
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from processes import output_of, start_in_a_group

SIZE = {"layers": 1, "heads": 1, "embed_dim": 8, "vocab_size": 20, "seeds": 2}
TINY = {
    "defaults": {**SIZE, "epochs": 6, "eval_every": 2, "learning_rate": 0.01},
    "families": {"bilinear": {"learning_rate": 1.0}},
    "sweeps": {"base": {}, "vocab": {"vocab_size": [20, 24]}, "bilinear": {"family": "bilinear"}},
    "figures": {
        "reversal_curve": "base",
        "reversal_vocab": "vocab",
        "bilinear_separation": "bilinear",
        "mine": {"plot": "overview", "sweep": "vocab", "title": "Of my own"},
    },
}
TINY_POINTS = 3  # gpt: V = 20 (in two sweeps) and V = 24; bilinear


@dataclass
class Workflow:
    """The workflow of a checkout with a config of its own and a directory to work in."""

    root: Path
    directory: Path
    lock: bool = False
    screen: bool = False
    path: str = "/usr/bin:/bin"

    @property
    def config_file(self) -> Path:
        return self.directory / "config.yaml"

    def write_config(self, **keys) -> None:
        """Write a config of tiny models from its keys, by default with one grid point."""
        config = {"defaults": TINY["defaults"], "sweeps": {"base": {}}, **keys}
        self.config_file.write_text(yaml.safe_dump(config, sort_keys=False))

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake in a process group of its own; stdout and stderr together."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(self.root / "Snakefile")]
        command += ["--directory", str(self.directory), "--cores", "2"]
        command += [] if self.screen else ["--printshellcmds"]  # all that Snakemake says
        command += [] if self.lock else ["--nolock"]
        command += arguments  # targets come first: --configfile takes all that follows it
        if "--configfile" not in arguments and self.config_file.exists():
            command += ["--configfile", str(self.config_file)]
        # Not activated: the workflow itself must find its interpreter.
        environment = {**os.environ, "PATH": self.path}
        return start_in_a_group(command, self.root, environment)

    def snakemake(self, *arguments: str, status: int = 0) -> str:
        """Run Snakemake; return what it printed."""
        return output_of(self.start(*arguments), status)

    def jobs(self, *arguments: str) -> dict[str, int]:
        """Count the jobs of every rule that a dry run would execute."""
        return job_counts(self.snakemake("--dry-run", *arguments))

    def find(self, pattern: str) -> list[Path]:
        """List the paths below `results` that match."""
        return sorted((self.directory / "results").glob(pattern))

    def contents(self, pattern: str) -> dict[Path, tuple[int, bytes]]:
        """Read the time and bytes of the files below `results` that match."""
        found = [path for path in self.find(pattern) if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def job_counts(output: str) -> dict[str, int]:
    """Read the table "Job stats" of Snakemake's output, without its total and `all`."""
    if "Job stats:" not in output:
        assert "Nothing to be done" in output, output
        return {}
    lines = output.split("Job stats:\n", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    counts = {line.split()[0]: int(line.split()[1]) for line in lines}
    return {rule: count for rule, count in counts.items() if rule not in ("total", "all")}


@pytest.fixture
def tiny() -> dict:
    """A config of three tiny grid points and a few figures, to change at will."""
    return deepcopy(TINY)


@pytest.fixture
def workflow(root, tmp_path) -> Workflow:
    """The checkout's workflow in an empty directory with the tiny config."""
    made = Workflow(root, tmp_path)
    made.write_config(**TINY)
    return made


@pytest.fixture(scope="session")
def finished(root, tmp_path_factory) -> tuple[Workflow, str]:
    """A finished run of the tiny config, and what Snakemake printed; read it, do not change it.

    Two processes that share the tests (pytest -n 2) share it too: it is trained once.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    made = Workflow(root, folder / "finished")
    with open(folder / "finished.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        printed = folder / "finished.txt"
        if not printed.exists():
            made.directory.mkdir(exist_ok=True)
            made.write_config(**TINY)
            printed.write_text(made.snakemake())
    return made, printed.read_text()


@pytest.fixture
def copy(finished, tmp_path) -> Workflow:
    """The finished run, to change at will."""
    shutil.copytree(finished[0].directory, tmp_path / "copy")
    return replace(finished[0], directory=tmp_path / "copy")
