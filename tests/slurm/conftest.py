"""The workflow on a real SLURM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from processes import start_in_a_group

from .cluster import Cluster, missing

# A cluster of one's own: questions may be frequent.
HERE = [
    "--slurm-no-account",
    *("--slurm-init-seconds-before-status-checks", "2"),
    *("--seconds-between-status-checks", "2"),
    *("--latency-wait", "10"),
]
BASE = {
    "defaults": {
        "layers": 1,
        "heads": 1,
        "embed_dim": 8,
        "vocab_size": 20,
        "seeds": 2,
        "epochs": 20,
        "eval_every": 10,
        "learning_rate": 0.01,
    },
    "sweeps": {"base": {}, "vocab": {"vocab_size": [20, 24]}},
    "figures": {"reversal_curve": "base", "reversal_vocab": "vocab"},
}


@dataclass
class OnSlurm:
    """The checkout's workflow, submitted from a directory of its own with `--profile slurm`."""

    root: Path
    directory: Path
    cluster: Cluster

    def write_config(
        self, sweeps=BASE["sweeps"], figures=BASE["figures"], pretrained=(), **defaults
    ) -> None:
        config = {"defaults": {**BASE["defaults"], **defaults}, "sweeps": sweeps}
        config |= {"figures": figures, "pretrained": list(pretrained)}
        (self.directory / "config.yaml").write_text(yaml.safe_dump(config))

    def start(self, *targets: str) -> subprocess.Popen:
        profiles = self.directory / "home/.config/snakemake"
        if not profiles.exists():  # the one step that docs/cluster.md documents
            profiles.mkdir(parents=True)
            (profiles / "slurm").symlink_to(self.root / "profiles/slurm")
        command = [sys.executable, "-m", "snakemake", *targets, "--profile", "slurm", *HERE]
        command += ["--snakefile", str(self.root / "Snakefile"), "--directory", self.directory]
        command += ["--configfile", str(self.directory / "config.yaml")]
        home = self.directory / "home"
        environment = {
            **self.cluster.environment,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
        }
        return start_in_a_group(command, self.root, environment)

    def finish(self, process: subprocess.Popen) -> str:
        try:
            output, _ = process.communicate(timeout=900)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == 0, output
        return output

    def training_log(self) -> str:
        """What the grid points' own logs say."""
        logs = self.directory.glob("results/runs/**/train.log")
        return "".join(path.read_text() for path in logs)

    def checkpoints(self) -> list[Path]:
        return list(self.directory.glob("results/checkpoints/*/[0-9]*.pt"))


@pytest.fixture(scope="module")
def cluster(request, tmp_path_factory) -> Cluster:
    """A running cluster, with the accounting that the module asks for."""
    if missing() or os.getuid():
        pytest.fail(f"a real SLURM needs root and {', '.join(missing())}; see `make test-slurm`")
    with Cluster(tmp_path_factory.mktemp("slurm"), request.module.ACCOUNTING) as running:
        yield running


@pytest.fixture
def workflow(cluster, root, tmp_path) -> OnSlurm:
    """The workflow with two small training points."""
    made = OnSlurm(root, tmp_path, cluster)
    made.write_config()
    return made
