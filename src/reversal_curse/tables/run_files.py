"""The files in the directory of a run, and whether it is finished."""

import json
from pathlib import Path
from typing import Any

from reversal_curse.config.settings import DEFAULTS, Settings
from reversal_curse.families import FAMILIES
from reversal_curse.tables.provenance import DATA_VERSION, TRAINING_VERSION

LOG = "train.log"


def run_files(settings: Settings) -> list[str]:
    """Name the files of a finished run; `run.json` is written last."""
    return [*(f"{table}.parquet" for table in FAMILIES[settings.family].tables), "run.json"]


def read_record(directory: Path, settings: Settings) -> dict[str, Any] | None:
    """Read `run.json` of a run of these settings and the current code; None if unfinished."""
    if not all((directory / name).exists() for name in reversed(run_files(settings))):
        return None
    try:
        record = json.loads((directory / "run.json").read_text(encoding="utf-8"))
        versions = (record["versions"]["data"], record["versions"]["training"])
        recorded = dict(record["settings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # Settings that were added after this run was trained had their default.
    same = all(
        recorded.get(name, DEFAULTS[name]) == value or (value is None and name not in recorded)
        for name, value in settings.described().items()
    )
    return record if same and versions == (DATA_VERSION, TRAINING_VERSION) else None


def is_trained(directory: Path, settings: Settings) -> bool:
    """Tell whether a directory holds a finished run of these settings and the current code."""
    return read_record(directory, settings) is not None
