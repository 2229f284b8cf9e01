"""Shared fixtures: the checkout, small settings, a dataset of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from reversal_curse.settings import Settings
from reversal_curse.sweep import canonical
from reversal_curse.tables import TABLES, write_table
from reversal_curse.tasks.dataset import Dataset, generate_dataset

ROOT = Path(__file__).parent.parent
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
        return canonical(Settings(**values).model_dump())

    return make


@pytest.fixture
def nvidia_smi(tmp_path) -> Path:
    """A directory with a stand-in for `nvidia-smi` that lists two GPUs."""
    program = tmp_path / "nvidia/nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200'\necho 'GPU 1: NVIDIA H200'\n")
    program.chmod(0o755)
    return program.parent


@pytest.fixture
def make_dataset(tmp_path):
    """Write and read back the dataset of some settings; optionally of some seeds only."""

    def make(settings: Settings, seeds: list[int] | None = None) -> Dataset:
        frame = generate_dataset(settings)
        if seeds is not None:
            frame = frame.filter(frame["seed"].is_in(seeds))
        path = tmp_path / f"dataset-{len(list(tmp_path.iterdir()))}.parquet"
        write_table(path, frame, TABLES["dataset"])
        return Dataset.read(path)

    return make
