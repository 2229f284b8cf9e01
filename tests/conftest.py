"""Shared fixtures, and variables that must be set before anything is imported."""

import os
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two trainings at a time share the cores
# transformers copies the code of checkpoints there; it reads this when imported.
os.environ["HF_MODULES_CACHE"] = f"{tempfile.gettempdir()}/reversal-curse-tests-{os.getuid()}"


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return Path(__file__).parent.parent


@pytest.fixture
def nvidia_smi(tmp_path) -> Path:
    """A directory with a stand-in for `nvidia-smi` that lists two GPUs."""
    program = tmp_path / "nvidia/nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200'\necho 'GPU 1: NVIDIA H200'\n")
    program.chmod(0o755)
    return program.parent


def pytest_collection_modifyitems(items):
    """Put long tests first in both halves: each process of `make test` gets one half."""
    parts: dict[str, list] = {"workflow": [], "faults": [], "slow": [], "short": []}
    for item in items:
        usual = "slow" if item.get_closest_marker("slow") else "short"
        parts[item.path.parent.name if item.path.parent.name in parts else usual].append(item)
    workflow, faults, slow, short = parts.values()
    half = len(items) // 2 - len(workflow)
    items[:] = [*workflow, *short[:half], *faults, *slow, *short[half:]]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let a process that is done take over tests of the other, so that both end together."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)
