"""Accept runs by other code, after training a sample of them anew has given the same tables."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from reversal_curse.config.cost import seconds
from reversal_curse.config.digest import digest_of
from reversal_curse.config.errors import UserError
from reversal_curse.config.settings import Settings
from reversal_curse.tables.provenance import code_of_training, commit
from reversal_curse.tables.record import digest_of_file, read_record, write_record
from reversal_curse.tables.run_files import RECORD, Runs, table_files

SAMPLE = 3
"""Runs that are trained anew of each family, task and code: the cheapest ones."""


def confirm(runs: Runs, points: Mapping[str, Settings]) -> None:
    """Train a sample of the runs by other code anew; if all are the same, accept them all.

    Raises UserError, and accepts none, if one differs or was trained on another kind of device.
    """
    # Imported here: torch takes seconds, and there may be nothing to confirm.
    from reversal_curse.tables.dataset import Dataset, generate_dataset
    from reversal_curse.training.gpus import training_device
    from reversal_curse.training.grid_point import train_grid_point

    stale = {run: settings for run, settings in points.items() if runs.state(run, settings).stale}
    records = {run: runs.state(run, settings).record or {} for run, settings in stale.items()}
    groups: dict[tuple, list[str]] = {}
    for run in sorted(stale, key=lambda run: seconds(stale[run], "cpu")):
        settings = stale[run]
        key = (settings.family, settings.task, digest_of(records[run]["code"]))
        groups.setdefault(key, []).append(run)
    for run in (run for group in groups.values() for run in group[:SAMPLE]):
        record, device = records[run], training_device().type
        if record["device"] != device:
            raise UserError(f"{run}: was trained on {record['device']}, this is {device}")
        print(f"training anew: {run}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "run"
            dataset = Dataset.of(generate_dataset(stale[run]))
            train_grid_point(stale[run], dataset, output, record["threads"])
            again = (read_record(output / RECORD) or {})["files"]
        other = next((name for name in again if again[name] != record["files"].get(name)), None)
        if other:
            raise UserError(f"{run}: {other} is not the same by the code of today: retrain")
    for run, settings in stale.items():  # they may have changed while the sample was trained
        folder, names = runs.folder(run), table_files(settings)
        found = {name: digest_of_file(folder / name) for name in names}
        if found != records[run]["files"] or read_record(folder / RECORD) != records[run]:
            raise UserError(f"{run}: has changed since, or is damaged; nothing is accepted")
    for run, settings in stale.items():
        confirmed = {"commit": commit(), "was": records[run]["code"]}
        content = {n: v for n, v in records[run].items() if n not in ("files", "digest")}
        content |= {"code": code_of_training(settings.family, settings.task)}
        content["confirmed"] = [*content.get("confirmed", []), confirmed]
        folder = runs.folder(run)
        write_record(folder / RECORD, content, [folder / name for name in table_files(settings)])
    print(f"{len(stale)} runs accepted")
