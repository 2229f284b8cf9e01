"""A new setting is one field: what a developer gets for it, shown in a copy of the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reversal_curse.config.file import Config
from reversal_curse.jobs.versions import PACKAGE
from reversal_curse.tables.schemas import TABLES

from .synthetic import write_runs

FIELDS = """
    swish: bool = setting(
        False, "whether the MLP is gated", of="transformer", names={True: "gated MLP"}
    )
    label_smoothing: float = setting(
        0.0, "mass on other tokens", {"ge": 0, "lt": 1}, of="adamw", label="smoothing {}"
    )
    schedule: Literal["constant", "cosine", "linear"] = setting("constant", "of the rate")
"""
BEFORE = "    precision: Literal["


@pytest.mark.slow
def test_a_field_is_a_setting_everywhere(tmp_path):
    """The copy is asked by the tests in `new_setting.py`, about a run of today's settings too."""
    shutil.copytree(
        PACKAGE, tmp_path / "reversal_curse", ignore=shutil.ignore_patterns("__pycache__")
    )
    path = tmp_path / "reversal_curse/config/settings.py"
    text = path.read_text()
    assert text.count(BEFORE) == 1
    path.write_text(text.replace(BEFORE, FIELDS.lstrip("\n") + BEFORE))
    write_runs(Config.parse({"sweeps": {"a": {}}}), tmp_path, lambda one: TABLES["metrics"].empty())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", Path(__file__).parent / "new_setting.py"],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "RUNS": str(tmp_path / "runs")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
