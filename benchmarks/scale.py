"""Measure how the costs of the dry run, the aggregation and a figure grow with the grid.

    python benchmarks/scale.py 2000 20000

Grid points share jobs, so that there are about 2,000 at most.

Run files are real tables of made-up numbers: ten seeds, evaluated before training and after each
of 299 epochs, so 6,000 rows for each grid point.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil

from reversal_curse.config.file import Config
from reversal_curse.config.grid import all_points, read_sweeps
from reversal_curse.tables.files import write_table
from reversal_curse.tables.provenance import code_of_training
from reversal_curse.tables.record import write_record
from reversal_curse.tables.run_files import RECORD, table_files
from reversal_curse.tables.schemas import MEASURED, TABLES

ROOT = Path(__file__).parent.parent
SIZES = (2_000, 6_400, 20_000)
SEEDS, EPOCHS = 10, 299
HOW = {"wall_seconds": 1.0, "device": "cpu", "device_name": "none", "versions": {"torch": "none"}}
DIFFERENT = 40
"""How many run files have numbers of their own; the others are copies."""


def grid(points: int) -> dict:
    """Return a config of `points` grid points (a multiple of 400) and a sweep of four to draw."""
    return {
        "defaults": {"seeds": SEEDS, "epochs": EPOCHS, "eval_every": 1, "heads": 2},
        "sweeps": {
            "grid": {
                "layers": {"range": [1, 10]},
                "embed_dim": [16 * factor for factor in range(1, 11)],
                "pos_encoding": ["none", "absolute", "rotary", "alibi"],
                "vocab_size": [20 * factor for factor in range(1, points // 400 + 1)],
            },
            "curves": {"layers": [1, 2, 3, 4], "embed_dim": 64, "vocab_size": 20},
        },
        "figures": {"reversal_layers": "curves"},
    }


def run_file(number: int, path: Path) -> None:
    """Write a `metrics` table with the made-up loss curves of a run."""
    rng = np.random.default_rng(number)
    epochs = np.arange(EPOCHS + 1)
    frames = []
    for split, falls in (("train", 1.0), ("unseen", 0.0)):
        for seed in range(SEEDS):
            nll = 4.0 - falls * 3.9 * (1 - np.exp(-epochs / 60)) + rng.normal(0, 0.05, len(epochs))
            frames.append(
                pl.DataFrame({"epoch": epochs, "nll_token": nll, "nll_word": nll}).with_columns(
                    seed=pl.lit(seed),
                    split=pl.lit(split),
                    accuracy=pl.lit(falls),
                    chance_vocab=pl.lit(4.4),
                    chance_class=pl.lit(4.4),
                    **{column.name: pl.lit(0.5) for column in MEASURED[3:]},
                )
            )
    table = TABLES["metrics"].conform(pl.concat(frames)).sort("seed", "epoch", "split")
    write_table(path, table, TABLES["metrics"])


def make_tree(folder: Path, config: Config) -> None:
    """Write a finished run of every grid point below `folder`; only its `metrics` has content."""
    masters = [folder.parent / f"master-{number}.parquet" for number in range(DIFFERENT)]
    for number, master in enumerate(masters):
        run_file(number, master)
    points = all_points(read_sweeps(config))
    for number, (directory, settings) in enumerate(points.items()):
        (folder / directory).mkdir(parents=True)
        for name in table_files(settings):
            (folder / directory / name).touch()
        shutil.copyfile(masters[number % DIFFERENT], folder / directory / "metrics.parquet")
        record = {"settings": settings.described(), "commit": None, "precision": "float32"}
        record |= {"code": dict(code_of_training(settings.family, settings.task)), **HOW}
        files = [folder / directory / name for name in table_files(settings)]
        write_record(folder / directory / RECORD, record, files)


def measured(command: list[str], cwd: Path) -> tuple[float, float]:
    """Run a command; return its seconds, and the peak GB of it and its children together."""
    started, most = time.perf_counter(), 0
    with tempfile.TemporaryFile() as output:
        process = psutil.Popen(command, cwd=cwd, stdout=output, stderr=output)
        while process.poll() is None:
            held = 0
            for one in (process, *_children(process)):
                try:
                    held += one.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            most = max(most, held)
            time.sleep(0.05)
        if process.returncode:
            output.seek(0)
            raise SystemExit(output.read().decode()[-2000:])
    return time.perf_counter() - started, most / 1e9


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def costs(points: int) -> dict[str, tuple[float, float]]:
    """Measure the seconds and GB of each cost at one size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config_file = folder / "config.yaml"
        content = grid(points)
        config_file.write_text(json.dumps(content), encoding="utf-8")
        for part in ("Snakefile", "workflow", "config", "profiles"):
            (folder / part).symlink_to(ROOT / part)
        snakemake = [sys.executable, "-m", "snakemake", "-n", "metrics"]
        snakemake += ["--configfile", str(config_file)]
        found = {
            "dry run, `--profile slurm`": measured(
                [*snakemake, "--profile", str(ROOT / "profiles/slurm")], folder
            ),
            "dry run, this machine": measured(snakemake, folder),
        }
        make_tree(folder / "results/runs", Config.parse(content))
        python = [sys.executable, "-m", "reversal_curse"]
        given = ["--config", str(config_file), "--results", str(folder / "results")]
        found["aggregation"] = measured([*python, "aggregate", *given], folder)
        found["dry run, all made"] = measured(snakemake, folder)
        figure = [*python, "figure", "reversal_layers", *given]
        found["figure"] = measured([*figure, "--output", str(folder / "figure.pdf")], folder)
        rows = pl.scan_parquet(folder / "results/metrics.parquet").select(pl.len()).collect().item()
        print(f"{points} points, {rows} rows: {found}", flush=True)
    return found


def lines(sizes: tuple[int, ...] = SIZES) -> list[str]:
    """Return the section of the page: a table, and how each cost grows."""
    found = {points: costs(points) for points in sizes}
    names = list(found[sizes[0]])
    table = [
        f"| grid points | {' | '.join(names)} |",
        f"| --- |{' --- |' * len(names)}",
    ]
    for points, row in found.items():
        cells = [f"{took:.1f} s, {held:.2f} GB" for took, held in row.values()]
        table.append(f"| {points:,} | {' | '.join(cells)} |")
    if len(sizes) > 1:
        logs = np.log(sizes)
        exponents = [
            np.polyfit(logs, np.log([found[points][name][0] for points in sizes]), 1)[0]
            for name in names
        ]
        table.append(f"| exponent | {' | '.join(f'{e:.2f}' for e in exponents)} |")
    return table


if __name__ == "__main__":
    print("\n".join(lines(tuple(int(size) for size in sys.argv[1:]) or SIZES)))
