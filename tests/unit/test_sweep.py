"""From a config to grid points and paths."""

from __future__ import annotations

import itertools
import re

import pytest

from reversal_curse import sweep
from reversal_curse.config import Config
from reversal_curse.registry import FAMILIES
from reversal_curse.settings import FIXED, HASH_BASELINE, Settings
from reversal_curse.sweep import (
    canonical,
    dataset_directory,
    grid_points,
    run_directory,
    settings_hash,
    settings_json,
    sweep_points,
    variant_labels,
)


def points_of(*sweeps, **blocks) -> list[Settings]:
    return list(grid_points(Config.parse({"sweeps": list(sweeps), **blocks})).values())


def test_lists_multiply():
    points = points_of({"name": "a", "layers": [1, 2, 3], "vocab_size": [20, 40]})
    pairs = {(point.layers, point.vocab_size) for point in points}
    assert pairs == set(itertools.product([1, 2, 3], [20, 40]))


def test_points_go_together_and_multiply_with_lists():
    points = points_of(
        {
            "name": "a",
            "points": [{"layers": 1, "embed_dim": 24}, {"layers": 4, "embed_dim": 48}],
            "vocab_size": [20, 40],
        }
    )
    assert {(p.layers, p.embed_dim, p.vocab_size) for p in points} == {
        (1, 24, 20),
        (1, 24, 40),
        (4, 48, 20),
        (4, 48, 40),
    }


def test_overlapping_sweeps_share_grid_points():
    config = Config.parse(
        {"sweeps": [{"name": "a", "layers": [1, 2]}, {"name": "b", "layers": [2, 3]}]}
    )
    first, second = (sweep_points(config, sweep) for sweep in config.sweeps)
    assert len(first) == len(second) == 2
    assert len(grid_points(config)) == 3
    assert len(first.keys() & second.keys()) == 1


def test_axes_a_family_lacks_are_canonical_so_that_no_point_is_trained_twice():
    points = points_of(
        {
            "name": "a",
            "family": ["bilinear", "gpt"],
            "layers": [1, 2, 3],
            "pos_encoding": ["none", "absolute"],
            "entity_length": [1, 2],
            "embed_dim": [60, 120],
        }
    )
    bilinear = [point for point in points if point.family == "bilinear"]
    assert len(bilinear) == 2
    assert {(p.layers, p.heads, p.entity_length, p.pos_encoding) for p in bilinear} == {
        (1, 1, 1, "none")
    }
    assert len(points) == 2 + 3 * 2 * 2 * 2


def test_settings_a_family_lacks_do_not_change_its_path():
    def path(**fixed):
        return list(
            grid_points(
                Config.parse(
                    {
                        "defaults": fixed,
                        "sweeps": [{"name": "a", "family": "bilinear"}],
                    }
                )
            )
        )

    assert path(dropout=0.3, batch_size=7) == path()
    assert path(init_std=0.5) != path()


def test_a_setting_comes_from_the_strongest_block_that_names_it():
    points = points_of(
        {"name": "a", "family": ["gpt", "bilinear"], "variant": ["default", "short"]},
        defaults={"epochs": 10, "seeds": 4},
        families={"bilinear": {"epochs": 20}},
        variants={"short": {"epochs": 30}},
    )
    assert {(p.family, p.variant): (p.epochs, p.seeds) for p in points} == {
        ("gpt", "default"): (10, 4),
        ("gpt", "short"): (30, 4),
        ("bilinear", "default"): (20, 4),
        ("bilinear", "short"): (30, 4),
    }
    assert {p.learning_rate for p in points} == {Settings().learning_rate}


def labels(**config) -> dict[str, str]:
    parsed = Config.parse({"variants": {"frozen": {"freeze_embeddings": True}}} | config)
    return variant_labels(parsed, list(grid_points(parsed).values()))


def test_variants_are_told_apart_by_the_settings_that_they_change():
    sweeps = [{"name": "a", "variant": ["default", "frozen"]}]
    assert labels(sweeps=sweeps) == {
        "default": "learned embeddings",
        "frozen": "frozen embeddings",
    }
    decay = {"none": {"weight_decay": 0.0}, "strong": {"weight_decay": 0.9, "epochs": 10}}
    sweeps = [{"name": "a", "variant": ["none", "strong", "default"]}]
    assert labels(variants=decay, sweeps=sweeps, defaults={"weight_decay": 0.1}) == {
        "default": "epochs 3000, weight decay 0.1",
        "none": "epochs 3000, weight decay 0",
        "strong": "epochs 10, weight decay 0.9",
    }


def test_labels_follow_the_settings_of_the_points_and_are_never_the_same():
    variants = {"none": {"weight_decay": 0.0}, "zero": {"weight_decay": 0.0}}
    sweeps = [{"name": "a", "variant": ["none", "zero", "default"]}]
    gpt = {"gpt": {"weight_decay": 0.5}}
    assert labels(variants=variants, sweeps=sweeps, families=gpt) == {
        "none": "weight decay 0 (none)",
        "zero": "weight decay 0 (zero)",
        "default": "weight decay 0.5",
    }


def test_a_variant_alone_and_the_default_among_other_axes_need_no_words():
    assert labels(sweeps=[{"name": "a", "variant": "frozen"}]) == {}
    points = [{"layers": 1}, {"layers": 2}, {"layers": 2, "variant": "frozen"}]
    assert labels(sweeps=[{"name": "a", "points": points}]) == {
        "default": "",
        "frozen": "frozen embeddings",
    }


OTHER_VALUES = {
    "seeds": 7,
    "epochs": 7,
    "eval_every": 7,
    "batch_size": 7,
    "learning_rate": 0.7,
    "learning_rate_z": 0.7,
    "weight_decay": 0.7,
    "beta1": 0.7,
    "beta2": 0.7,
    "dropout": 0.7,
    "rotary_fraction": 0.5,
    "tie_head": True,
    "freeze_embeddings": True,
    "loss_on": "sequence",
    "init_std": 0.7,
    "precision": "bfloat16",
    "compile": "never",
}


@pytest.mark.parametrize("name", FIXED)
def test_two_different_settings_never_share_a_path(name):
    family = next(key for key, family in FAMILIES.items() if name in family.uses)
    base = canonical({**Settings().model_dump(), "family": family})
    other = canonical({**base.model_dump(), name: OTHER_VALUES[name]})
    assert run_directory(base) != run_directory(other)


def test_a_variant_that_says_nothing_to_a_family_trains_nothing_twice():
    points = points_of(
        {"name": "a", "family": ["gpt", "bilinear"], "variant": ["default", "frozen", "wide"]},
        variants={"frozen": {"freeze_embeddings": True}, "wide": {"init_std": 0.5}},
    )
    assert sorted((p.family, p.variant) for p in points) == [
        ("bilinear", "default"),
        ("bilinear", "wide"),
        ("gpt", "default"),
        ("gpt", "frozen"),
    ]


def test_the_hash_leaves_out_one_frozen_value_of_every_setting(monkeypatch):
    """A built-in default that changes must move neither old paths nor what their jobs train."""
    assert HASH_BASELINE.keys() == set(FIXED)
    before = run_directory(Settings(beta2=0.999))
    monkeypatch.setitem(sweep._BUILT_IN, "beta2", 0.95)
    assert run_directory(Settings(beta2=0.999)) == before
    assert run_directory(Settings(beta2=0.95)) != before
    assert '"beta2": 0.999' in settings_json(Settings(beta2=0.999))


def test_the_path_spells_every_axis_in_known_characters():
    directory = run_directory(Settings())
    assert directory.startswith(
        "task=reversal/family=gpt/layers=24/heads=12/embed_dim=768/vocab_size=800/"
        "entity_length=1/distance=1/train_facts=200/pos_encoding=absolute/"
        "masking=any_order/variant=default/settings="
    )
    assert re.fullmatch(r"[a-z0-9_=/]+", directory)


def test_hashes_of_known_settings_stay_so_that_old_runs_stay_valid():
    assert settings_hash(Settings()) == "pdnbmlkmde"
    assert settings_hash(Settings(epochs=500, learning_rate=0.001)) == "okjndjdfnf"


def test_axes_a_task_lacks_are_canonical():
    points = points_of(
        {
            "name": "a",
            "task": ["reversal", "facts", "chain_related", "in_context"],
            "distance": [1, 2],
            "train_facts": [10, 20],
            "entity_length": [1, 2],
        }
    )
    shapes = sorted((p.task, p.distance, p.train_facts, p.entity_length) for p in points)
    assert shapes == [
        ("chain_related", 1, 10, 1),
        ("chain_related", 1, 20, 1),
        ("facts", 1, 1, 1),
        ("facts", 2, 1, 1),
        ("in_context", 1, 1, 1),
        ("reversal", 1, 1, 1),
        ("reversal", 1, 1, 2),
    ]


def test_settings_survive_the_command_line():
    settings = Settings(layers=1, learning_rate=0.1 + 0.2, tie_head=True, variant="x")
    assert Settings.model_validate_json(settings_json(settings)) == settings


def test_one_dataset_serves_all_points_of_one_task_and_size():
    points = points_of(
        {"name": "a", "layers": [1, 2], "pos_encoding": ["none", "rotary"]},
        {"name": "b", "family": "bilinear", "embed_dim": [12, 24]},
    )
    assert len(points) == 6
    assert len({dataset_directory(point) for point in points}) == 1
