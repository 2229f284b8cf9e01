"""Run the real Snakemake on the real workflow, in a directory of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from processes import start_in_a_group

TINY = {
    "defaults": {
        "layers": 1,
        "heads": 1,
        "embed_dim": 8,
        "vocab_size": 20,
        "seeds": 2,
        "epochs": 6,
        "eval_every": 2,
        "learning_rate": 0.01,
    },
    "families": {"bilinear": {"learning_rate": 1.0}},
    "variants": {"frozen": {"freeze_embeddings": True}},
    "sweeps": [
        {"name": "base"},
        {"name": "vocab", "vocab_size": [20, 24]},
        {"name": "frozen", "variant": ["default", "frozen"]},
        {"name": "bilinear", "family": "bilinear", "embed_dim": [8, 16]},
        {"name": "overview", "family": ["gpt", "bilinear"], "vocab_size": [20, 24]},
    ],
    "figures": {
        "reversal_curve": "base",
        "reversal_logits": "base",
        "reversal_vocab": "vocab",
        "reversal_layers": "base",
        "reversal_depth_width": "base",
        "reversal_positional": "base",
        "reversal_entity_length": "base",
        "reversal_frozen": "frozen",
        "embedding_cosine": "vocab",
        "bilinear_separation": "bilinear",
        "sweep_overview": "overview",
    },
}
TINY_POINTS = 6  # gpt: V = 20, V = 24, frozen; bilinear: d = 8 and 16 at V = 20, d = 8 at V = 24


@dataclass
class Workflow:
    """The workflow with a config of its own and an empty directory to work in."""

    root: Path
    directory: Path
    snakefile: Path
    lock: bool = False
    path: str = "/usr/bin:/bin"

    @property
    def config_file(self) -> Path:
        return self.directory / "config.yaml"

    def write_config(self, config: dict | str) -> None:
        text = config if isinstance(config, str) else yaml.safe_dump(config)
        self.config_file.write_text(text)

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake in a process group of its own; stdout and stderr together."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(self.snakefile)]
        command += ["--directory", str(self.directory), "--cores", "2"]
        command += [] if self.lock else ["--nolock"]
        command += arguments  # targets come first: --configfile takes all that follows it
        if "--configfile" not in arguments and self.config_file.exists():
            command += ["--configfile", str(self.config_file)]
        # Not activated: the workflow itself must find its interpreter.
        environment = {**os.environ, "PATH": self.path}
        return start_in_a_group(command, self.root, environment)

    def snakemake(self, *arguments: str, status: int | None = 0) -> str:
        """Run Snakemake; returns stdout and stderr together; checks the exit status."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        if status is not None:
            assert process.returncode == status, output
        return output

    def jobs(self, *arguments: str) -> dict[str, int]:
        """Rules that a dry run would execute, with the number of jobs."""
        return job_counts(self.snakemake("--dry-run", *arguments))


def job_counts(output: str) -> dict[str, int]:
    """The table "Job stats" of Snakemake's output, without its total."""
    if "Job stats:" not in output:
        assert "Nothing to be done" in output, output
        return {}
    lines = output.split("Job stats:\n", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    counts = {line.split()[0]: int(line.split()[1]) for line in lines}
    counts.pop("total")
    return counts


@pytest.fixture(scope="session")
def tiny() -> dict:
    """A config of six tiny grid points and every figure."""
    return TINY


@pytest.fixture
def workflow(root, tmp_path) -> Workflow:
    """The checkout's workflow in an empty directory with the tiny config."""
    made = Workflow(root, tmp_path, root / "Snakefile")
    made.write_config(TINY)
    return made


@pytest.fixture(scope="session")
def finished(root, tmp_path_factory) -> tuple[Workflow, str]:
    """A finished run of the tiny config, and what Snakemake printed; read it, do not change it."""
    made = Workflow(root, tmp_path_factory.mktemp("finished"), root / "Snakefile")
    made.write_config(TINY)
    return made, made.snakemake()
