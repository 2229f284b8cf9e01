"""Parquet in and out: the tables of a run, and those of many."""

import json
import random
import time
from pathlib import Path
from threading import Timer

import polars as pl
import pyarrow.parquet as pq
import pytest

from reversal_curse.config.digest import digest_of
from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config
from reversal_curse.config.grid import CARD, NOTHING, all_points, read_sweeps
from reversal_curse.config.settings import NAMES
from reversal_curse.tables import run_files
from reversal_curse.tables.aggregate import aggregate
from reversal_curse.tables.files import read_runs, read_table, write_table
from reversal_curse.tables.record import read_record
from reversal_curse.tables.run_files import Runs, mixtures, state_of
from reversal_curse.tables.schemas import TABLES

from .synthetic import CHOICE, write_runs

METRICS = TABLES["metrics"]


def metrics() -> pl.DataFrame:
    rows = [
        {"seed": seed, "epoch": epoch, "split": split, "nll_token": 1.0 + seed, "nll_word": 1.0}
        | {"accuracy": 0.5, "chance_vocab": 3.0, "chance_class": 2.0}
        | CHOICE
        for seed in (0, 1)
        for epoch in (0, 1)
        for split in ("train", "unseen")
    ]
    return METRICS.conform(pl.DataFrame(rows))


def test_a_table_is_read_back_and_a_write_that_fails_leaves_it_and_nothing_partial(tmp_path):
    path = tmp_path / "deep/metrics.parquet"
    write_table(path, metrics(), METRICS)
    with pytest.raises(ValueError, match="names"):
        write_table(path, metrics().select("seed"), METRICS)
    assert read_table(path, "metrics").equals(metrics())
    assert [p.name for p in path.parent.iterdir()] == ["metrics.parquet"]


def test_a_missing_file_or_one_that_is_not_parquet_gives_one_clear_line(tmp_path):
    path = tmp_path / "metrics.parquet"
    with pytest.raises(UserError, match=f"^{path}: no such file$"):
        read_table(path, "metrics")
    path.write_bytes(b"PAR1" + b"\0" * 64 + b"PAR1")
    with pytest.raises(UserError, match=f"^{path}: is damaged; the next command makes it again.*$"):
        read_table(path, "metrics")


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (metrics().drop("nll_word"), "column nll_word must be Float32, got no column"),
        (metrics().cast({"epoch": pl.String}), "column epoch must be Int32, got String"),
    ],
)
def test_a_table_of_another_schema_is_refused(tmp_path, frame, problem):
    frame.write_parquet(tmp_path / "metrics.parquet")
    with pytest.raises(UserError, match=problem):
        read_table(tmp_path / "metrics.parquet", "metrics")


CONFIG = Config.parse(
    {
        "defaults": {"vocab_size": 20, "embed_dim": 16, "heads": 2, "epochs": 1},
        "sweeps": {
            "a": {"layers": [1, 2], "pos_encoding": ["none", "rotary"], "dropout": [0.0, 0.1]},
            "b": {"family": "bilinear"},
        },
    }
)


SWEEPS = read_sweeps(CONFIG)
RUN, SETTINGS = next(iter(SWEEPS["a"].points.items()))


@pytest.fixture
def results(tmp_path) -> Path:
    """A finished run of every grid point."""
    write_runs(CONFIG, tmp_path, lambda one: metrics())
    return tmp_path


@pytest.fixture
def folder(results) -> Path:
    """The folder of one of them, RUN."""
    return results / "runs" / RUN


def gather(results: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    paths = results / "metrics.parquet", results / "points.parquet"
    aggregate(CONFIG, Runs(results), *paths)
    return pl.read_parquet(paths[0]), pl.read_parquet(paths[1])


def test_runs_become_one_table_with_the_settings_of_the_config_as_columns(results):
    table, _ = gather(results)
    shown = [name for name in NAMES if name in {*CARD, "heads", "epochs", "dropout"}]
    assert table.columns == [*shown, "run", *metrics().columns]
    assert table.height == 9 * metrics().height
    assert table.group_by("layers", "pos_encoding", "dropout").len().height == 9
    assert table.filter(family="bilinear")["dropout"].null_count() == metrics().height
    found = json.loads(pq.read_metadata(results / "metrics.parquet").metadata[b"columns"])
    assert found["embed_dim"]["unit"] == "features"
    assert found["nll_token"]["unit"] == "nats"
    assert all(column["description"] for column in found.values())


def test_every_grid_point_is_one_row_with_all_settings_and_what_was_measured(results):
    _, points = gather(results)
    assert points.schema == TABLES["points"].schema
    assert points.height == 9
    row = points.filter(family="bilinear").row(0, named=True)
    assert row["train_nll_token"] == pytest.approx(1.5)
    assert row["train_nll_token_sd"] == pytest.approx(0.5**0.5)
    assert (row["last_epoch"], row["seconds"], row["trained_in"]) == (1, 2.5, "float32")
    assert (row["layers"], row["embed_dim"]) == (None, 16)


def test_runs_scan_as_hive_partitions_with_null_for_settings_that_do_not_apply(results):
    found = pl.scan_parquet(results / "runs/**/metrics.parquet", hive_partitioning=True).collect()
    assert found.height == gather(results)[0].height
    assert set(found.columns) == {*CARD, "settings", *metrics().columns}
    bilinear = found.filter(family="bilinear")
    assert bilinear["layers"].null_count() == bilinear.height == metrics().height
    assert NOTHING not in found["pos_encoding"].to_list()


def test_runs_are_read_with_labels_and_only_if_their_family_writes_the_table(results):
    points, labels = all_points(SWEEPS), SWEEPS["a"].labels
    table = read_runs(points, "metrics", Runs(results), labels)
    assert set(table.columns) == {"run", "label", *NAMES, *metrics().columns}
    assert set(table["label"]) == {"", *labels.values()}
    assert read_runs(points, "logits", Runs(results), labels).is_empty()


@pytest.mark.parametrize("gone", ["metrics.parquet", "run.json", "logits.parquet"])
def test_a_missing_run_is_named_and_no_table_is_written(results, folder, gone):
    (folder / gone).unlink()
    with pytest.raises(UserError, match=r"layers=1.*(no finished|missing).*; train it first"):
        gather(results)
    assert not (results / "metrics.parquet").exists()


def change_record(path, change) -> None:
    """Write a record again with other content, as another program would."""
    record = read_record(path)
    change(record)
    del record["digest"]
    path.write_text(json.dumps({**record, "digest": digest_of(record)}))


RECORDS = [
    (lambda record: record, ""),
    (lambda record: record["settings"].pop("beta1"), ""),  # newer than the run: the default
    (lambda record: record["settings"].update(gone=1), ""),
    (lambda record: record["settings"].pop("dropout"), "dropout must be 0.0, got 0.1"),
    (lambda record: record["settings"].update(beta1=0.8), "beta1 must be 0.9, got 0.8"),
    (lambda record: record["files"].update({"metrics.parquet": "x"}), "metrics.parquet is not as"),
]


@pytest.mark.parametrize(("change", "problem"), RECORDS)
def test_a_run_counts_if_settings_and_tables_are_those_of_its_record(folder, change, problem):
    change_record(folder / "run.json", change)
    (folder / "metrics.parquet").touch()
    state = state_of(folder, SETTINGS)
    assert problem in state.problem
    assert (state.record is None) == bool(problem)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"digest": 1}', b"\xff"])
def test_a_broken_record_is_named_and_its_run_does_not_count(folder, content):
    path = folder / "run.json"
    path.write_bytes(content)
    state = state_of(folder, SETTINGS)
    assert state.record is None
    assert state.problem.startswith(f"{path}: ")


def test_every_flipped_bit_of_a_run_is_noticed_or_changes_nothing(results, folder):
    whole = read_runs({RUN: SETTINGS}, "metrics", Runs(results), {})
    for name in ("metrics.parquet", "run.json"):
        content = (folder / name).read_bytes()
        for bit in random.Random(0).sample(range(8 * len(content)), 60):
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            (folder / name).write_bytes(flipped)
            state = state_of(folder, SETTINGS)
            if name == "metrics.parquet" or state.problem:
                assert name in state.problem
            else:
                assert read_runs({RUN: SETTINGS}, "metrics", Runs(results), {}).equals(whole)
        (folder / name).write_bytes(content)


def test_damage_that_file_times_hide_is_seen_when_the_table_is_read(results, folder):
    table = folder / "metrics.parquet"
    table.write_bytes(table.read_bytes()[:-1] + b"2")
    time.sleep(0.02)  # file times have the resolution of the kernel's clock
    (folder / "run.json").touch()
    assert state_of(folder, SETTINGS).record
    time.sleep(0.02)
    with pytest.raises(UserError, match=r"metrics.parquet: is damaged; the next command makes it"):
        read_runs({RUN: SETTINGS}, "metrics", Runs(results), {})
    assert state_of(folder, SETTINGS).problem


def test_other_software_or_hardware_inside_a_sweep_is_said():
    one = {"versions": {"torch": "2"}, "device": "cpu", "precision": "float32", "device_name": "x"}
    records = [one | {"settings": {"family": name}} for name in ("gpt", "gpt", "bilinear")]
    assert not mixtures(
        "a", [*records, records[2] | {"precision": "float64", "settings": {"family": "one_layer"}}]
    )
    records[1] = records[1] | {"device": "cuda"}
    assert mixtures("a", records) == ["sweep a mixes runs by device: cpu (2 runs), cuda (1 runs)"]
    old, new = ({"device": "cuda", "precision": p} for p in ("float32", "bfloat16"))
    gpus = [records[0] | old | {"device_name": "V100"}, records[1] | new | {"device_name": "H100"}]
    assert mixtures("a", [gpus[1], *gpus]) == [
        "sweep a mixes runs by precision: bfloat16 (2 runs), float32 (1 runs), on H100 (2), "
        "V100 (1): set `precision`, or pin a GPU model in the profile"
    ]


@pytest.mark.parametrize("comes", [True, False])
def test_a_run_that_a_job_has_just_reported_may_be_late(results, capfd, monkeypatch, comes):
    """A slow network disk may show the report first. An old report excuses nothing."""
    monkeypatch.setattr(run_files, "LATE", 3.0)
    run, settings = next(iter(read_sweeps(CONFIG)["a"].points.items()))
    record = results / "runs" / run / "run.json"
    record.rename(record.with_name("late"))
    report = results / "jobs/gpt_0.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps({"trained": [run]}))
    if comes:
        Timer(0.5, record.with_name("late").rename, [record]).start()
        assert Runs(results).trained(run, settings)
    else:
        with pytest.raises(UserError, match="no finished run of these settings; train it first"):
            Runs(results).trained(run, settings)
        began = time.monotonic()
        with pytest.raises(UserError, match="train it first"):
            Runs(results).trained(run, settings)
        assert time.monotonic() - began < 0.5
        record.with_name("late").rename(record)
    assert capfd.readouterr().err == f"{record.parent}: not here yet; waiting\n"
