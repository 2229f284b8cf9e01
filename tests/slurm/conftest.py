"""The workflow on a real SLURM."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from processes import output_of, start_in_a_group

from .cluster import Cluster, missing

# The cluster is ours alone, so it may be asked often.
HERE = [
    *("--reversal-curse-slurm-init-seconds-before-status-checks", "2"),
    *("--seconds-between-status-checks", "2"),
    *("--latency-wait", "10"),
    *("--reversal-curse-slurm-hold-seconds", "2"),
]
SIZE = {"layers": 1, "heads": 1, "embed_dim": 8, "vocab_size": 20, "seeds": 2}
TINY = {**SIZE, "epochs": 20, "eval_every": 10, "learning_rate": 0.01}
SWEEPS = {"base": {}, "vocab": {"vocab_size": [20, 24]}}
FIGURES = {"reversal_curve": "base", "reversal_vocab": "vocab"}


@dataclass
class OnSlurm:
    """The checkout's workflow, submitted from a directory of its own with `--profile slurm`."""

    root: Path
    directory: Path
    cluster: Cluster

    earlier: list[str]
    """Numbers of the jobs that the cluster knew before."""

    def write_config(self, sweeps=SWEEPS, figures=FIGURES, pretrained=(), **defaults) -> None:
        config = {"defaults": TINY | defaults, "sweeps": sweeps, "figures": figures}
        config["pretrained"] = list(pretrained)
        (self.directory / "config.yaml").write_text(yaml.safe_dump(config))

    def start(self, *targets: str) -> subprocess.Popen:
        home = self.directory / "home"
        profiles = home / ".config/snakemake"
        if not profiles.exists():  # the one step that docs/cluster.md documents
            profiles.mkdir(parents=True)
            (profiles / "slurm").symlink_to(self.root / "profiles/slurm")
        command = [sys.executable, "-m", "snakemake", *targets, "--profile", "slurm", *HERE]
        command += ["--snakefile", str(self.root / "Snakefile"), "--directory", self.directory]
        command += ["--configfile", str(self.directory / "config.yaml")]
        own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
        return start_in_a_group(command, self.root, self.cluster.environment | own)

    def run(self, *targets: str, status: int = 0) -> str:
        """Run Snakemake; return what it printed."""
        return output_of(self.start(*targets), status)

    def jobs(self, rule: str = "") -> list[dict[str, str]]:
        """List this workflow's SLURM jobs of rules whose names start with `rule`, oldest first."""
        jobs = [job for job in self.cluster.jobs() if job["JobId"] not in self.earlier]
        jobs = [job for job in jobs if job.get("Comment", "").startswith(f"rule_{rule}")]
        return sorted(jobs, key=lambda job: int(job["JobId"]))

    def training(self) -> list[dict[str, str]]:
        """List the training jobs that run now."""
        return [job for job in self.jobs("train") if job["JobState"] == "RUNNING"]

    def training_log(self) -> str:
        """Read the logs of all grid points."""
        logs = self.directory.glob("results/runs/**/train.log")
        return "".join(path.read_text() for path in logs)


@pytest.fixture(scope="module")
def cluster(request, tmp_path_factory) -> Cluster:
    """A running cluster, with accounting if the module asks for it."""
    if missing() or os.getuid():
        pytest.fail(f"a real SLURM needs root and {', '.join(missing())}; see `make test-slurm`")
    with Cluster(tmp_path_factory.mktemp("slurm"), request.module.ACCOUNTING) as running:
        yield running


@pytest.fixture
def workflow(cluster, root, tmp_path) -> OnSlurm:
    """The workflow with two small grid points."""
    made = OnSlurm(root, tmp_path, cluster, [job["JobId"] for job in cluster.jobs()])
    made.write_config()
    return made
