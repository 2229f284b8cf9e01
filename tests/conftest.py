"""Shared fixtures: the checkout, small settings, a dataset of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from reversal_curse.config.settings import DEFAULTS, Settings, settle
from reversal_curse.tables.dataset import Dataset, generate_dataset

ROOT = Path(__file__).parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two trainings at a time share the cores
# Where transformers copies the code of a checkpoint to; it asks when it is imported.
os.environ["HF_MODULES_CACHE"] = f"{tempfile.gettempdir()}/reversal-curse-tests-{os.getuid()}"


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def small_settings():
    """Settings of a tiny model; keywords override."""

    def make(**overrides) -> Settings:
        values = {
            "layers": 2,
            "heads": 2,
            "embed_dim": 16,
            "vocab_size": 20,
            "seeds": 3,
            "epochs": 20,
            "eval_every": 5,
            "learning_rate": 0.003,
            **overrides,
        }
        return settle({**DEFAULTS, **values})

    return make


@pytest.fixture
def nvidia_smi(tmp_path) -> Path:
    """A directory with a stand-in for `nvidia-smi` that lists two GPUs."""
    program = tmp_path / "nvidia/nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200'\necho 'GPU 1: NVIDIA H200'\n")
    program.chmod(0o755)
    return program.parent


@pytest.fixture(scope="session")
def make_dataset():
    """The dataset of some settings; optionally of some seeds only."""

    def make(settings: Settings, seeds: list[int] | None = None) -> Dataset:
        frame = generate_dataset(settings)
        return Dataset.of(frame if seeds is None else frame.filter(frame["seed"].is_in(seeds)))

    return make
