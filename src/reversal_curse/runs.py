"""What stands in the directory of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reversal_curse.registry import run_tables
from reversal_curse.settings import Settings
from reversal_curse.versions import DATA_VERSION, TRAINING_VERSION


def run_files(settings: Settings) -> list[str]:
    """Names of the files of a finished run; `run.json` is written last."""
    return [*(f"{table}.parquet" for table in run_tables(settings.family)), "run.json"]


def read_record(directory: Path, settings: Settings) -> dict[str, Any] | None:
    """What `run.json` says of a finished run of today's training code.

    None where a file of the run is missing, or the code was another.
    """
    if not all((directory / name).exists() for name in reversed(run_files(settings))):
        return None
    try:
        record = json.loads((directory / "run.json").read_text(encoding="utf-8"))
        versions = (record["versions"]["data"], record["versions"]["training"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if versions == (DATA_VERSION, TRAINING_VERSION) else None


def is_trained(directory: Path, settings: Settings) -> bool:
    """Whether a directory holds every file of a finished run of today's training code."""
    return read_record(directory, settings) is not None
