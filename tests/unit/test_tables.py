"""Parquet in and out."""

from __future__ import annotations

import json

import polars as pl
import pyarrow.parquet as pq
import pytest

from reversal_curse.aggregate import aggregate
from reversal_curse.config import Config
from reversal_curse.errors import UserError
from reversal_curse.settings import AXES
from reversal_curse.sweep import grid_points
from reversal_curse.tables import (
    TABLES,
    aggregated,
    read_aggregated,
    read_table,
    write_table,
)

METRICS = TABLES["metrics"]


def metrics(seeds=2, epochs=(0, 1)) -> pl.DataFrame:
    rows = [
        {
            "seed": seed,
            "epoch": epoch,
            "split": split,
            "nll_token": 1.0 + seed,
            "nll_word": 1.0,
            "accuracy": 0.5,
            "chance_vocab": 3.0,
            "chance_class": 2.0,
        }
        for seed in range(seeds)
        for epoch in epochs
        for split in ("train", "unseen")
    ]
    return METRICS.conform(pl.DataFrame(rows))


def test_a_table_is_read_back_as_it_was_written(tmp_path):
    path = tmp_path / "deep" / "metrics.parquet"
    write_table(path, metrics(), METRICS)
    assert read_table(path, "metrics").equals(metrics())
    assert [p.name for p in path.parent.iterdir()] == ["metrics.parquet"]


def test_a_write_that_fails_leaves_the_old_table_and_nothing_partial(tmp_path):
    path = tmp_path / "metrics.parquet"
    write_table(path, metrics(), METRICS)
    before = path.read_bytes()
    broken = metrics().lazy().select(pl.col("nowhere"))
    with pytest.raises(pl.exceptions.PolarsError):
        write_table(path, broken, METRICS)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.parquet"]


def test_units_and_meanings_travel_in_the_file(tmp_path):
    path = tmp_path / "metrics.parquet"
    write_table(path, metrics(), METRICS)
    columns = json.loads(pq.read_metadata(path).metadata[b"columns"])
    assert list(columns) == metrics().columns
    assert columns["nll_token"]["unit"] == "nats"
    assert columns["accuracy"]["unit"] == "fraction"
    assert all(column["description"] for column in columns.values())


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"not parquet at all", b"PAR1" + b"\0" * 64 + b"PAR1"]
)
def test_a_file_that_is_no_parquet_is_one_clear_line(tmp_path, content):
    path = tmp_path / "metrics.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match="no readable Parquet table") as caught:
        read_table(path, "metrics")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.parquet: no such file"):
        read_table(tmp_path / "nowhere.parquet", "metrics")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda frame: frame.drop("nll_word"), "column nll_word is missing"),
        (lambda frame: frame.cast({"epoch": pl.String}), "column epoch is String"),
    ],
)
def test_a_table_of_another_schema_is_refused(tmp_path, change, problem):
    path = tmp_path / "metrics.parquet"
    change(metrics()).write_parquet(path)
    with pytest.raises(UserError, match=problem):
        read_table(path, "metrics")


CONFIG = {
    "defaults": {"vocab_size": 20, "embed_dim": 16, "heads": 2},
    "sweeps": [{"name": "a", "layers": [1, 2], "pos_encoding": ["none", "rotary"]}],
}


def write_runs(config: Config, runs) -> None:
    for directory in grid_points(config):
        write_table(runs / directory / "metrics.parquet", metrics(), METRICS)


def test_runs_become_one_table_with_every_axis_as_a_column(tmp_path):
    config = Config.parse(CONFIG)
    write_runs(config, tmp_path / "runs")
    assert aggregate(config, "metrics", tmp_path / "runs", tmp_path / "metrics.parquet") == 4
    table = read_aggregated(tmp_path / "metrics.parquet", "metrics")
    assert table.columns == [*AXES, "settings", *metrics().columns]
    assert table.schema == aggregated(METRICS).schema
    assert table.height == 4 * metrics().height
    assert table.group_by("layers", "pos_encoding").len().height == 4
    assert set(table["vocab_size"]) == {20}
    columns = json.loads(pq.read_metadata(tmp_path / "metrics.parquet").metadata[b"columns"])
    assert columns["embed_dim"]["unit"] == "features"


def test_the_run_files_scan_as_hive_partitions(tmp_path):
    config = Config.parse(CONFIG)
    write_runs(config, tmp_path / "runs")
    aggregate(config, "metrics", tmp_path / "runs", tmp_path / "metrics.parquet")
    scanned = pl.scan_parquet(
        tmp_path / "runs/**/metrics.parquet", hive_partitioning=True
    ).collect()
    table = pl.read_parquet(tmp_path / "metrics.parquet")
    assert scanned.height == table.height
    assert set(scanned.columns) == set(table.columns)
    assert scanned["settings"].unique().to_list() == table["settings"].unique().to_list()


def test_a_missing_run_is_named_and_no_table_written(tmp_path):
    config = Config.parse(CONFIG)
    write_runs(config, tmp_path / "runs")
    gone = next(iter(grid_points(config)))
    (tmp_path / "runs" / gone / "metrics.parquet").unlink()
    with pytest.raises(UserError, match="missing; train it first"):
        aggregate(config, "metrics", tmp_path / "runs", tmp_path / "metrics.parquet")
    assert not (tmp_path / "metrics.parquet").exists()


def test_a_table_that_no_run_of_the_config_writes_is_refused(tmp_path):
    with pytest.raises(UserError, match="no grid point of a writes the table separation"):
        aggregate(Config.parse(CONFIG), "separation", tmp_path, tmp_path / "x.parquet")
