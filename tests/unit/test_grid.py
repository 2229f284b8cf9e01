"""From a config to grid points, their paths and their labels."""

import re

import pytest

from reversal_curse.config import grid
from reversal_curse.config import settings as module
from reversal_curse.config.file import Config
from reversal_curse.config.grid import CARD, dataset_directory, read_sweeps, run_directory
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.settings import ABOUT, DEFAULTS, NAMES, Settings, choices, settle
from reversal_curse.families import FAMILIES


def sweep_of(block: dict, **blocks) -> grid.Sweep:
    return read_sweeps(Config.parse({"sweeps": {"a": block}, **blocks}))["a"]


def points_of(block: dict, *names: str, **blocks) -> list[tuple]:
    """List the values of some settings at every grid point, sorted."""
    points = sweep_of(block, **blocks).points.values()
    return sorted(tuple(getattr(point, name) for name in names) for point in points)


SHAPES = [{"layers": 1, "embed_dim": 24}, {"layers": 4, "embed_dim": 48}]


@pytest.mark.parametrize(
    ("block", "names", "expected"),
    [
        (
            {"points": SHAPES, "vocab_size": [20, 40]},
            ("layers", "embed_dim", "vocab_size"),
            [(1, 24, 20), (1, 24, 40), (4, 48, 20), (4, 48, 40)],
        ),
        (
            {"task": ["reversal", "facts"], "distance": [1, 2], "entity_length": [1, 2]},
            ("task", "distance", "entity_length"),
            [("facts", 1, 1), ("facts", 2, 1), ("reversal", 1, 1), ("reversal", 1, 2)],
        ),
        (
            {"family": ["bilinear", "gpt"], "layers": [1, 2], "init_std": [0.1, 0.2]},
            ("family", "layers", "init_std"),
            [("bilinear", 24, 0.1), ("bilinear", 24, 0.2), ("gpt", 1, 0.01), ("gpt", 2, 0.01)],
        ),
    ],
    ids=["points go together", "tasks lack some settings", "families lack some"],
)
def test_a_block_is_the_product_of_its_lists_and_points_without_repetitions(block, names, expected):
    assert points_of(block, *names) == expected


def test_the_strongest_block_that_names_a_setting_decides():
    """Default < `defaults` < family < the sweep's preset < its values < a point's preset < its."""
    blocks = {
        "defaults": {"epochs": 1, "seeds": 1, "dropout": 0.1, "beta1": 0.1, "batch_size": 1},
        "families": {"gpt": {"seeds": 2, "dropout": 0.2, "beta1": 0.2, "batch_size": 2}},
        "presets": {"all": {"dropout": 0.3, "beta1": 0.3, "batch_size": 3}, "one": {"beta1": 0.5}},
    }
    block = {"preset": "all", "beta2": [0.4], "points": [{"preset": "one", "batch_size": 6}, {}]}
    names = ("epochs", "seeds", "dropout", "beta2", "beta1", "batch_size", "weight_decay")
    expected = [(1, 2, 0.3, 0.4, 0.3, 3, 0.01), (1, 2, 0.3, 0.4, 0.5, 6, 0.01)]
    assert points_of(block, *names, **blocks) == expected


def test_sweeps_that_overlap_share_grid_points_and_one_dataset_serves_a_task_and_size():
    blocks = {"a": {"layers": [1, 2]}, "b": {"layers": [2, 3]}, "c": {"family": "bilinear"}}
    sweeps = read_sweeps(Config.parse({"sweeps": blocks}))
    first, second, third = (sweep.points for sweep in sweeps.values())
    assert len(first.keys() & second.keys()) == 1
    points = [*first.values(), *second.values(), *third.values()]
    assert len({dataset_directory(point) for point in points}) == 1
    other = {"vocab_size": 20, "entity_length": 2, "seeds": 3, "task": "chain"}
    for name, value in other.items():
        assert dataset_directory(settle({**DEFAULTS, name: value})) != dataset_directory(points[0])


@pytest.mark.parametrize(
    ("name", "given", "values"),
    [
        ("weight_decay", {"log": [0.001, 10, 5]}, [0.001, 0.01, 0.1, 1.0, 10.0]),
        ("weight_decay", {"log": [0.1, 0.3, 4]}, [0.1, 0.1442, 0.208, 0.3]),
        ("weight_decay", {"linear": [0.5, 0.1, 3]}, [0.5, 0.3, 0.1]),
        ("layers", {"range": [2, 5]}, [2, 3, 4, 5]),
    ],
)
def test_a_range_stands_for_its_values(name, given, values):
    assert [getattr(p, name) for p in sweep_of({name: given}).points.values()] == values


def another(name: str) -> Settings:
    """Return settings to which a setting applies, with a value for it that is not its default."""
    default = DEFAULTS[name]
    if choices(name):
        value = next(one for one in choices(name) if one != default)
    else:
        value = default + 1 if isinstance(default, int) else default / 2 or 0.1
    for family, description in FAMILIES.items():
        needs = {other: allowed[0] for other, allowed in ABOUT[name].needs.items()}
        for task in description.tasks:
            values = {**DEFAULTS, "family": family, "task": task, **needs, name: value}
            if name in module.meaningful(values):
                return settle(values)
    raise AssertionError(f"{name} applies nowhere")


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_that_applies_shows_in_the_path_and_in_words(name):
    settings = another(name)
    value = getattr(settings, name)
    default = settle(vars(settings) | {name: DEFAULTS[name]})
    directory = run_directory(settings)
    assert directory != run_directory(default)
    spelt = str(value).lower() if isinstance(value, bool) else value
    assert f"{name}{'=' if name in CARD else '-'}{spelt}" in directory
    assert re.fullmatch(r"[A-Za-z0-9_=/.+-]+", directory)
    assert module.in_words(name, value) not in ("", module.in_words(name, DEFAULTS[name]))


def test_paths_of_known_settings_stay_so_that_old_runs_stay_valid():
    start = "task=reversal/family=gpt/layers=24/embed_dim=768/vocab_size=800/pos_encoding=absolute"
    assert run_directory(settle(DEFAULTS)) == f"{start}/settings=default"
    given = {"epochs": 500, "tie_head": True, "learning_rate": 1e-5}
    spelt = "settings=epochs-500+learning_rate-1e-05+tie_head-true"
    assert run_directory(settle(DEFAULTS | given)) == f"{start}/{spelt}"
    nothing = "__HIVE_DEFAULT_PARTITION__"
    assert run_directory(settle(DEFAULTS | {"family": "one_layer"})) == (
        f"task=reversal/family=one_layer/layers={nothing}/embed_dim={nothing}/vocab_size=800/"
        f"pos_encoding={nothing}/settings=default"
    )
    assert dataset_directory(settle(DEFAULTS)) == "task=reversal/vocab_size=800/settings=default"


def test_a_path_too_long_for_file_systems_is_shortened_and_stays_unique():
    long = {name: getattr(another(name), name) for name in NAMES if name not in CARD}
    long |= {"learning_rate": 0.123456789012345, "pos_encoding": "rotary", "beta2": 0.12345678901}
    first, second = (run_directory(settle({**DEFAULTS, **long, "seeds": n})) for n in (11, 12))
    assert first != second
    assert max(map(len, first.split("/"))) <= grid.LONGEST
    assert "~" in first


RATES = {"families": {"bilinear": {"learning_rate": 4.0, "epochs": 7}}}
LABELS = [
    ({}, [""]),
    ({"vocab_size": [20, 80]}, ["V = 20", "V = 80"]),
    (
        {"pos_encoding": ["none", "alibi"], "layers": [1, 2]},
        ["1 layer, no positions", "1 layer, ALiBi", "2 layers, no positions", "2 layers, ALiBi"],
    ),
    (
        {"freeze_embeddings": [False, True], "loss_on": ["answer"]},
        ["learned embeddings", "frozen embeddings"],
    ),
    ({"weight_decay": [0.0, 1e-3]}, ["weight decay 0", "weight decay 0.001"]),
    ({"family": ["gpt", "bilinear"]}, ["autoregressive", "bilinear"]),  # each has its own RATES
    (
        {"points": [{"layers": 1, "label": "small"}, {"layers": 4}], "vocab_size": [20, 80]},
        ["small, V = 20", "4 layers, V = 20", "small, V = 80", "4 layers, V = 80"],
    ),
]


@pytest.mark.parametrize(("block", "labels"), LABELS, ids=str)
def test_grid_points_are_told_apart_in_words(block, labels):
    sweep = sweep_of(block, **RATES)
    assert sorted(sweep.labels.values()) == sorted(labels)
    assert list(sweep.labels) == list(sweep.points)


def test_a_plot_without_conditions_draws_a_sweep_over_any_setting():
    points = [settle(DEFAULTS), another("dropout"), another("tie_head"), another("seeds")]
    for name, plot in PLOTS.items():
        if plot.tables == ("metrics",) and plot.varies is None and not (plot.has or plot.only):
            assert grid.undrawable(name, points) is None
