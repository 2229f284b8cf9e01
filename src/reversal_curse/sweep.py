"""From a config to grid points and their paths. Knows no torch, so that the DAG builds fast."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Collection, Iterator
from functools import cache

from reversal_curse.config import DEFAULT_VARIANT, Config, Sweep
from reversal_curse.errors import ConfigError
from reversal_curse.registry import FAMILIES, FIGURES, TASKS, run_tables, uses
from reversal_curse.settings import AXES, FIXED, HASH_BASELINE, Settings

# What a family lacks takes this value, so that no point is trained twice.
CANONICAL_AXES = {
    "layers": 1,
    "heads": 1,
    "embed_dim": 1,
    "entity_length": 1,
    "distance": 1,
    "train_facts": 1,
    "pos_encoding": "none",
    "masking": "any_order",
}
# What a dataset depends on.
DATASET_SETTINGS = ("task", "vocab_size", "entity_length", "distance", "train_facts", "seeds")
_BUILT_IN = {name: field.default for name, field in Settings.model_fields.items()}
_CANONICAL = {**_BUILT_IN, **CANONICAL_AXES}
# One set for the settings of all grid points: one each would be two thirds of their memory.
_GIVEN = set(_BUILT_IN)


def grid_points(config: Config) -> dict[str, Settings]:
    """The union of all sweeps: run directory (relative) to settings."""
    points = {}
    for sweep in config.sweeps:
        points.update(sweep_points(config, sweep))
    return points


def sweep_points(config: Config, sweep: Sweep) -> dict[str, Settings]:
    """The grid points of one sweep: run directory (relative) to settings.

    Raises ConfigError where a combination cannot be trained.
    """
    where = f"sweeps[{config.sweeps.index(sweep)}] ({sweep.name})"
    points = {}
    given: dict[str, dict] = {}
    for chosen in _combinations(sweep):
        settings = resolve(config, chosen)
        check_trainable(settings, where)
        points[run_directory(settings)] = settings
        for axis, value in chosen.items():
            given.setdefault(axis, {})[value] = None
    _check_no_value_is_lost(given, points, where)
    return points


def _check_no_value_is_lost(
    given: dict[str, dict], points: dict[str, Settings], where: str
) -> None:
    """Refuse a sweep over an axis that nothing in it has, which would train less than it says."""
    for axis, values in given.items():
        kept = {getattr(settings, axis) for settings in points.values()}
        lost = [value for value in values if value not in kept]
        if lost:
            families = sorted({settings.family for settings in points.values()})
            tasks = sorted({settings.task for settings in points.values()})
            raise ConfigError(
                f"{where}.{axis}",
                f"{', '.join(map(str, lost))} makes no difference: nothing of it is in family "
                f"{', '.join(families)} with task {', '.join(tasks)}",
                "an axis that one of them has (see `config/README.md`)",
            )


def _combinations(sweep: Sweep) -> Iterator[dict]:
    given = {axis: getattr(sweep, axis) for axis in AXES if getattr(sweep, axis) is not None}
    together = [point.model_dump(exclude_unset=True) for point in sweep.points or [None] if point]
    for values in itertools.product(*given.values()):
        for point in together or [{}]:
            yield {**dict(zip(given, values, strict=True)), **point}


def resolve(config: Config, axes: dict) -> Settings:
    """Full settings from axis values: built-in, `defaults`, family, variant, the axes.

    Axes and settings that the family lacks take their canonical value.
    """
    defaults = config.defaults.model_dump(exclude_unset=True)
    merged = {**_BUILT_IN, **defaults, **axes}
    family, variant = (
        block.model_dump(exclude_unset=True) if block else {}
        for block in (
            config.families.get(merged["family"]),
            config.variants.get(merged["variant"]),
        )
    )
    if not variant.keys() & FAMILIES[merged["family"]].uses:
        merged["variant"] = DEFAULT_VARIANT  # it says nothing to this family
    return canonical({**merged, **family, **variant})


def canonical(values: dict) -> Settings:
    """Settings from checked values, with what family or task lacks at its canonical value."""
    used = uses(values["family"], values["task"])
    return Settings.model_construct(
        _GIVEN,
        **{name: value if name in used else _CANONICAL[name] for name, value in values.items()},
    )


@cache
def check_trainable(settings: Settings, where: str) -> None:
    """Refuse combinations that no model or dataset can have."""
    uses = FAMILIES[settings.family].uses
    if "heads" in uses and settings.embed_dim % settings.heads:
        raise ConfigError(
            where,
            f"heads {settings.heads} with embed_dim {settings.embed_dim}",
            "heads that divide embed_dim",
        )
    rotated = settings.rotary_fraction * settings.embed_dim / settings.heads
    if settings.pos_encoding == "rotary" and abs(rotated - 2 * max(1, round(rotated / 2))) > 1e-6:
        raise ConfigError(
            where,
            f"rotary with {rotated:g} rotated features per head",
            "an even number: rotary_fraction * embed_dim / heads",
        )
    task = TASKS[settings.task]
    tasks = FAMILIES[settings.family].tasks
    if settings.task not in tasks:
        raise ConfigError(
            where, f"family {settings.family} with task {settings.task}", ", ".join(tasks)
        )
    if settings.vocab_size < task.min_vocab_size:
        raise ConfigError(
            where,
            f"vocab_size {settings.vocab_size} is too small for the entities of {settings.task}",
            f"at least {task.min_vocab_size}",
        )
    if task.max_train_facts and settings.train_facts > task.max_train_facts(settings):
        raise ConfigError(
            where,
            f"train_facts {settings.train_facts} with vocab_size {settings.vocab_size}",
            f"at most {task.max_train_facts(settings)}",
        )


def variant_labels(config: Config, points: Collection[Settings]) -> dict[str, str]:
    """What tells the variants of grid points apart, in words: `{"frozen": "frozen embeddings"}`.

    The settings that any of them changes, with their values. Where axes vary too, the default
    needs no words. Empty for a single variant.
    """
    of = {
        variant: [p for p in points if p.variant == variant]
        for variant in dict.fromkeys(point.variant for point in points)
    }
    if len(of) < 2:
        return {}
    blocks = [config.variants[name].model_fields_set for name in of if name in config.variants]
    changed = [name for name in FIXED if any(name in block for block in blocks)]
    labels = {
        variant: ", ".join(
            _in_words(name, value)
            for name in changed
            for value in dict.fromkeys(getattr(point, name) for point in some)
        )
        for variant, some in of.items()
    }
    texts = list(labels.values())
    labels = {v: f"{text} ({v})" if texts.count(text) > 1 else text for v, text in labels.items()}
    axes = [axis for axis in AXES if axis != "variant"]
    if DEFAULT_VARIANT in labels and len({tuple(getattr(p, a) for a in axes) for p in points}) > 1:
        labels[DEFAULT_VARIANT] = ""
    return labels


_YES_NO = {
    "freeze_embeddings": ("frozen embeddings", "learned embeddings"),
    "tie_head": ("tied head", "untied head"),
}


def _in_words(name: str, value: object) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return _YES_NO[name][not value]
    return f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"


def runs_with_table(config: Config, table: str) -> list[str]:
    """Run directories (relative) of the grid points whose family writes `table`."""
    return [
        directory
        for directory, settings in grid_points(config).items()
        if table in run_tables(settings.family)
    ]


def check_figures(config: Config) -> None:
    """Refuse a figure that cannot show its sweep, before anything is trained for it."""
    sweeps = {sweep.name: sweep for sweep in config.sweeps}
    for name, sweep in config.figures.items():
        figure, key = FIGURES[name], f"figures.{name}"
        points = sweep_points(config, sweeps[sweep]).values()
        for table in figure.tables:
            shown = [point for point in points if table in run_tables(point.family)]
            if not shown:
                families = [family for family in FAMILIES if table in run_tables(family)]
                raise ConfigError(
                    key,
                    f"sweep {sweep} has no {table}",
                    f"a sweep with the family {' or '.join(families)}",
                )
            if len(shown) > figure.max_points:
                raise ConfigError(
                    key,
                    f"sweep {sweep} has {len(shown)} grid points",
                    f"at most {figure.max_points}",
                )
            for axis, allowed in figure.only.items():
                others = sorted({getattr(point, axis) for point in shown} - set(allowed))
                if others:
                    raise ConfigError(
                        key,
                        f"sweep {sweep} has {axis} {', '.join(map(str, others))}",
                        ", ".join(map(str, allowed)),
                    )
            varied = [a for a in AXES if len({getattr(point, a) for point in shown}) > 1]
            if figure.varies is not None and not set(varied) <= set(figure.varies):
                raise ConfigError(
                    key, f"sweep {sweep} varies {', '.join(varied)}", ", ".join(figure.varies)
                )


def fixed_settings(settings: Settings) -> dict:
    """The settings that no axis spells and that differ from `HASH_BASELINE`."""
    values = {name: getattr(settings, name) for name in FIXED}
    return {name: value for name, value in values.items() if value != HASH_BASELINE[name]}


def settings_hash(settings: Settings) -> str:
    """Ten letters that stand for the settings that no axis spells.

    Letters only: readers of Hive partitions take digits for a number.
    """
    return _hash_letters(tuple(sorted(fixed_settings(settings).items())))


@cache
def _hash_letters(items: tuple) -> str:
    digest = hashlib.sha256(json.dumps(items).encode()).digest()
    return "".join(chr(ord("a") + byte % 16) for byte in digest[:10])


def run_directory(settings: Settings) -> str:
    """Hive partitions of a run, relative to `results/runs`: two settings never share one."""
    axes = "/".join([f"{axis}={getattr(settings, axis)}" for axis in AXES])
    return f"{axes}/settings={settings_hash(settings)}"


def dataset_directory(settings: Settings) -> str:
    """Hive partitions of the dataset that a run reads, relative to `results/data`."""
    return "/".join([f"{name}={getattr(settings, name)}" for name in DATASET_SETTINGS])


def dataset_json(settings: Settings) -> str:
    """The settings that a dataset depends on, as one line for a command."""
    return json.dumps({name: getattr(settings, name) for name in DATASET_SETTINGS})


def settings_json(settings: Settings) -> str:
    """Settings as one line for a command: the axes, and what no default gives."""
    axes = {axis: getattr(settings, axis) for axis in AXES}
    fixed = {name: getattr(settings, name) for name in FIXED}
    spelt = {
        name: value
        for name, value in fixed.items()
        if not value == HASH_BASELINE[name] == _BUILT_IN[name]
    }
    return json.dumps({**axes, **spelt})
