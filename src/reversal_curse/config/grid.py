"""Turn a config into grid points and paths. Torch is not imported: the DAG must build fast."""

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from reversal_curse.config.digest import digest_of
from reversal_curse.config.file import MOST_POINTS, Config, Key, Mistake
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.settings import (
    ABOUT,
    DEFAULTS,
    NAMES,
    Settings,
    in_words,
    meaningful,
    settle,
)
from reversal_curse.families import FAMILIES
from reversal_curse.tasks import TASKS

CARD = ("task", "family", "layers", "embed_dim", "vocab_size", "pos_encoding")
"""The settings that each have a level in a run's path; the last level spells out all others."""
NOTHING = "__HIVE_DEFAULT_PARTITION__"  # readers of Hive partitions take it for null
LONGEST = 240  # letters in the name of a folder; file systems allow 255 bytes


@dataclass(frozen=True)
class Sweep:
    """The grid points of one block of a config."""

    points: dict[str, Settings]
    """Settings by run directory (relative)."""
    labels: dict[str, str]
    """Labels by run directory; a label says how the grid point differs from the others."""

    @cached_property
    def varied(self) -> list[str]:
        """List the settings that tell its grid points apart."""
        return varying([settings.described() for settings in self.points.values()])

    @cached_property
    def values(self) -> dict[str, set]:
        """Return the values that each setting takes."""
        every = [vars(settings) for settings in self.points.values()]
        return {name: {values[name] for values in every} for name in NAMES}


def all_points(sweeps: Mapping[str, Sweep]) -> dict[str, Settings]:
    """Return every grid point once, by its run directory."""
    return {run: s for sweep in sweeps.values() for run, s in sweep.points.items()}


def read_sweeps(config: Config) -> dict[str, Sweep]:
    """Expand the sweeps, keyed by name; raises ConfigError, which names the first mistakes."""
    size = sum(
        math.prod(map(len, _lists(block).values())) * len(block.points or [None])
        for block in config.sweeps.values()
    )
    if size > MOST_POINTS:
        config.refuse([(("sweeps",), f"{size:,} grid points; allowed: at most {MOST_POINTS:,}")])
    mistakes: list[Mistake] = []
    sweeps = {name: _read_sweep(config, name, mistakes) for name in config.sweeps}
    config.refuse(mistakes)
    problem_of = cache(lambda plot, sweep: undrawable(plot, list(sweeps[sweep].points.values())))
    config.refuse(
        (("figures", name), f"sweep {figure.sweep} {problem}")
        for name, figure in config.drawings().items()
        if figure.sweep and (problem := problem_of(figure.plot, figure.sweep))
    )
    return sweeps


def _lists(block: Any) -> dict[str, list]:
    return {name: getattr(block, name) for name in NAMES if name in block.model_fields_set}


def _given(block: Any) -> dict[str, Any]:
    return block.model_dump(exclude_unset=True, exclude={"preset", "label"})


def _read_sweep(config: Config, name: str, mistakes: list[Mistake]) -> Sweep:
    """Expand a sweep: the product of its lists, times its `points`.

    Later values win: built-in ones, `defaults`, the family's block, the sweep's preset, its values,
    the preset of an entry of `points`, the values of that entry.
    """
    block, where = config.sweeps[name], ("sweeps", name)
    lists = _lists(block)
    base = DEFAULTS | _given(config.defaults)
    families = {n: _given(family) for n, family in config.families.items()}

    def preset_of(block: Any) -> dict[str, Any]:
        return _given(config.presets[block.preset]) if block.preset else {}

    preset = preset_of(block)
    entries: list[tuple[Key, dict, dict, str | None]] = [
        ((*where, "points", i), preset_of(point), _given(point), point.label)
        for i, point in enumerate(block.points or [])
    ]
    idle: dict[Key, list] = {(*where, setting): values for setting, values in lists.items()}
    idle |= {(*at, setting): [v] for at, _, own, _ in entries for setting, v in own.items()}
    points: dict[str, Settings] = {}
    labels: dict[str, str] = {}
    for combination in itertools.product(*lists.values()):
        values = preset | dict(zip(lists, combination, strict=True))
        for at, its_preset, own, label in entries or [(where, {}, {}, None)]:
            chosen = values | its_preset | own
            family = families.get(chosen.get("family", base["family"]), {})
            settings = settle(base | family | chosen)
            used = meaningful(vars(settings))
            for place, given in ((where, lists), (at, own)):
                for setting in given.keys() & used:
                    idle.pop((*place, setting), None)
            if problem := untrainable(settings):
                mistakes.append((where, problem))
                continue
            directory = run_directory(settings)
            points[directory] = settings
            if label:
                labels[directory] = label
    kinds = {(point.family, point.task): point for point in points.values()}.values()
    mistakes += [
        (key, changes_nothing(str(key[-1]), values, kinds))
        for key, values in idle.items()
        if points
    ]
    rows = {directory: settings.described() for directory, settings in points.items()}
    named = {name for _, preset, own, _ in entries for name in (*preset, *own)}
    return Sweep(points, describe(rows, labels, named))


def changes_nothing(setting: str, values: list, points: Collection[Settings]) -> str:
    """Say that values of a setting change none of these grid points, and what it needs."""
    needs = ABOUT[setting].needs
    met = {name: allowed[0] for name, allowed in needs.items()}
    used = [meaningful(vars(settle(vars(point) | met))) for point in points]
    helpful = frozenset().union(*(names for names in used if setting in names))
    needed = [f"{n} {' or '.join(map(str, v))}" for n, v in needs.items() if n in helpful]
    families, tasks = (
        ", ".join(dict.fromkeys(getattr(point, name) for point in points))
        for name in ("family", "task")
    )
    return (
        f"{', '.join(map(str, values))} changes nothing with family {families} and task {tasks}"
        f"{', it needs ' * bool(needed)}{' and '.join(needed)}; "
        "allowed: leaving it out (see config/README.md)"
    )


@cache
def untrainable(settings: Settings) -> str | None:
    """Say why these settings cannot be trained, and what is allowed; None if they can."""
    if "heads" in meaningful(vars(settings)):
        if settings.embed_dim % settings.heads:
            shape = f"heads {settings.heads} with embed_dim {settings.embed_dim}"
            return f"{shape}; allowed: heads that divide embed_dim"
        rotated = settings.rotary_fraction * settings.embed_dim / settings.heads
        even = abs(rotated - 2 * max(1, round(rotated / 2))) <= 1e-6
        if settings.pos_encoding == "rotary" and not even:
            features = f"rotary with {rotated:g} rotated features per head"
            return f"{features}; allowed: an even number, rotary_fraction * embed_dim / heads"
    task, tasks = TASKS[settings.task], FAMILIES[settings.family].tasks
    if settings.task not in tasks:
        return f"family {settings.family} with task {settings.task}; allowed: {', '.join(tasks)}"
    for name, allowed in task.only.items():
        if getattr(settings, name) not in allowed:
            value = f"{name} {getattr(settings, name)} with task {settings.task}"
            return f"{value}; allowed: {', '.join(map(str, allowed))}"
    if settings.copy_first != "none" and task.pad(settings) is not None:
        return f"copy_first {settings.copy_first} with sentences of unlike length; allowed: none"
    vocabulary = f"vocab_size {settings.vocab_size}"
    if settings.vocab_size < task.min_vocab_size:
        least = f"at least {task.min_vocab_size}"
        return f"{vocabulary} is too small for the entities of {settings.task}; allowed: {least}"
    most = task.max_train_facts(settings) if task.max_train_facts else settings.train_facts
    if settings.train_facts > most:
        return f"train_facts {settings.train_facts} with {vocabulary}; allowed: at most {most}"
    return None


def undrawable(plot_name: str, points: Collection[Settings]) -> str | None:
    """Say why a plot cannot draw these grid points, and what is allowed; None if it can."""
    plot = PLOTS[plot_name]
    for table in plot.tables:
        families = [name for name, family in FAMILIES.items() if table in family.tables]
        shown = [point for point in points if point.family in families]
        if not shown:
            return f"has no {table}; allowed: the family {' or '.join(families)}"
        if len(shown) > plot.max_points:
            return f"has {len(shown)} grid points; allowed: at most {plot.max_points}"
        rows = [point.described() for point in shown]
        for setting in plot.has:
            if any(row[setting] is None for row in rows):
                return f"has grid points without {setting}; allowed: only grid points that have it"
        for setting, allowed in plot.only.items():
            others = sorted({row[setting] for row in rows} - set(allowed))
            if others:
                return (
                    f"has {setting} {', '.join(map(str, others))}, which the plot {plot_name} "
                    f"cannot show; allowed: {', '.join(str(a) for a in allowed if a is not None)}"
                )
        told_apart = NAMES if plot.varies is None else plot.varies
        others = [name for name in varying(rows) if name not in told_apart]
        if others:
            return (
                f"varies {', '.join(others)}, which the plot {plot_name} cannot tell apart; "
                f"allowed: {', '.join(told_apart)}"
            )
    return None


def varying(rows: Collection[Mapping[str, Any]]) -> list[str]:
    """List the settings that tell described grid points apart: those with several values.

    A setting that family and task decide, such as a rate in `families`, does not count.
    """
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["family"], row["task"]), []).append(row)

    def varies(name: str) -> bool:
        among = [rows] if name in ("family", "task") else groups.values()
        return any(len({row[name] for row in group} - {None}) > 1 for group in among)

    return [name for name in NAMES if varies(name)]


def describe(
    rows: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, str] | None = None,
    covered: Collection[str] = (),
) -> dict[str, str]:
    """Say in words how each described grid point differs from the others: `V = 80, ALiBi`.

    If a grid point has a label, it replaces the settings that are `covered`.
    """
    names = varying(list(rows.values()))
    found = {}
    for directory, row in rows.items():
        label = (labels or {}).get(directory, "")
        words = (in_words(n, row[n]) for n in names if not (label and n in covered))
        found[directory] = ", ".join(filter(None, [label, *words]))
    return found


def run_directory(settings: Settings) -> str:
    """Return the path of a run below `results/runs`: Hive partitions, unique to its settings."""
    row = settings.described()
    card = [f"{name}={NOTHING if row[name] is None else row[name]}" for name in CARD]
    return "/".join([*card, _rest(row, set(CARD))])


def dataset_directory(settings: Settings) -> str:
    """Return the path of the dataset that a run reads, below `results/data`."""
    shown = {"task": settings.task, "vocab_size": settings.vocab_size}
    rest = {n: v for n, v in settings.described().items() if ABOUT[n].data or n == "seeds"}
    return "/".join([*(f"{name}={value}" for name, value in shown.items()), _rest(rest, set())])


def _rest(row: Mapping[str, Any], shown: set[str]) -> str:
    """Spell out the last partition: the other settings that differ from their built-in default."""
    text = "+".join(
        f"{name}-{str(value).lower() if isinstance(value, bool) else value}"
        for name, value in sorted(row.items())
        if name not in shown and value is not None and value != DEFAULTS[name]
    )
    if len(text) > LONGEST:
        digest = digest_of(text)
        text = f"{text[: LONGEST - 50]}~{digest}"
    return f"settings={text or 'default'}"


def own_folder(config: Config, results: Path) -> Path:
    """Return the folder of a config's figures, tables and ledger: `results` or `results/NAME`."""
    return results / config.name if config.name else results


def pretrained_file(config: Config, results: Path, table: str) -> Path:
    """Return the path of a config's table of pretrained models, such as `pretrained_scores`."""
    name = table.removeprefix("pretrained_")
    return own_folder(config, results) / f"pretrained/{name}.parquet"
