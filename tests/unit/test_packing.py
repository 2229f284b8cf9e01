"""Which grid points share a training job, and what they are estimated to cost."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from reversal_curse.config import Config
from reversal_curse.cost import HARDWARE, seconds
from reversal_curse.packing import MAX_POINTS, packs
from reversal_curse.registry import TASKS
from reversal_curse.settings import Settings
from reversal_curse.sweep import sweep_points

CONFIG = {
    "defaults": {"layers": 1, "heads": 1, "embed_dim": 8, "vocab_size": 20, "epochs": 20},
    "sweeps": [
        {"name": "vocab", "vocab_size": [20, 24, 28, 32]},
        {"name": "base", "family": ["gpt", "bilinear"]},
    ],
}


def sweeps_of(config: dict) -> dict:
    parsed = Config.parse(config)
    return {sweep.name: sweep_points(parsed, sweep) for sweep in parsed.sweeps}


def test_every_grid_point_is_in_exactly_one_pack():
    sweeps = sweeps_of(CONFIG)
    for minutes in (0.0, 0.01, 1.0, 1e9):
        found = packs(sweeps, minutes, "cpu")
        packed = [directory for pack in found.values() for directory in pack.points]
        assert sorted(packed) == sorted({d for points in sweeps.values() for d in points})


def test_points_of_other_families_and_other_sweeps_are_apart():
    found = packs(sweeps_of(CONFIG), 1e9, "cpu").values()
    sizes = {(pack.family, pack.sweeps): len(pack.points) for pack in found}
    assert sizes == {
        ("gpt", ("vocab", "base")): 1,
        ("gpt", ("vocab",)): 3,
        ("bilinear", ("base",)): 1,
    }


def test_without_a_least_time_every_point_is_alone():
    assert all(len(pack.points) == 1 for pack in packs(sweeps_of(CONFIG), 0.0, "cpu").values())


def test_a_pack_is_closed_once_it_takes_long_enough():
    config = {**CONFIG, "sweeps": [{"name": "many", "vocab_size": list(range(20, 80))}]}
    sizes = [len(p.points) for p in packs(sweeps_of(config), 10 / 60, "cpu").values()]
    for pack in list(packs(sweeps_of(config), 10 / 60, "cpu").values())[:-1]:
        costs = [seconds(settings, "cpu") for settings in pack.points.values()]
        assert sum(costs[:-1]) < 10 <= sum(costs) == pytest.approx(pack.seconds)
    assert 2 < len(sizes) < 60


def test_a_pack_fits_on_a_command_line():
    config = {**CONFIG, "sweeps": [{"name": "many", "vocab_size": list(range(20, 320))}]}
    found = packs(sweeps_of(config), 1e9, "cpu").values()
    assert max(len(pack.points) for pack in found) == MAX_POINTS
    assert max(len(pack.to_json()) for pack in found) < 100_000


def test_names_depend_on_the_points_alone():
    first = packs(sweeps_of(CONFIG), 1.0, "cpu")
    again = packs(sweeps_of(CONFIG), 1.0, "cpu")
    longer = packs(
        sweeps_of({**CONFIG, "defaults": {**CONFIG["defaults"], "epochs": 21}}), 1.0, "cpu"
    )
    assert list(first) == list(again)
    assert not first.keys() & longer.keys()


@pytest.mark.parametrize("entity_length", [1, 2, 3])
@pytest.mark.parametrize("vocab_size", [16, 20, 50, 801])
@pytest.mark.parametrize("task", TASKS)
def test_the_registry_counts_the_sentences_that_are_generated(
    small_settings, make_dataset, task, vocab_size, entity_length
):
    settings = small_settings(
        task=task,
        vocab_size=vocab_size,
        entity_length=entity_length,
        distance=2,
        train_facts=9,
        seeds=1,
    )
    dataset = make_dataset(settings)
    train = dataset.table.filter(pl.col("split") == "train")
    assert TASKS[task].sentences(settings) == train.height
    assert TASKS[task].length(settings) == dataset.length


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("family", ["gpt", "masked_diffusion", "bilinear", "one_layer"])
def test_twice_the_epochs_cost_about_twice_as_much(small_settings, family, hardware):
    once, twice = (
        seconds(small_settings(family=family, epochs=n), hardware) - HARDWARE[hardware].start
        for n in (100, 200)
    )
    assert twice == pytest.approx(2 * once)


def test_estimates_are_within_a_factor_of_1_5_for_nine_runs_in_ten():
    """The runs of the default sweep, two at a time on two cores: see `benchmarks/calibrate.py`."""
    recorded = json.loads((Path(__file__).parent / "measured_runs.json").read_text())
    ratios = [
        seconds(Settings(**run["settings"]), recorded["hardware"]) / run["seconds"]
        for run in recorded["runs"]
    ]
    assert len(ratios) > 90
    assert sum(1 / 1.5 <= ratio <= 1.5 for ratio in ratios) >= 0.9 * len(ratios)
