"""From a config to grid points and their paths. Knows no torch, so that the DAG builds fast."""

import hashlib
import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config, Key, Mistake
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
"""The settings that have a level of a run's path each; the last level spells all others."""
NOTHING = "__HIVE_DEFAULT_PARTITION__"  # null, to every reader of Hive partitions
LONGEST = 240  # letters in the name of a folder; file systems take 255 bytes


@dataclass(frozen=True)
class Sweep:
    """The grid points of one block of a config."""

    points: dict[str, Settings]
    """Run directory (relative) to settings."""
    labels: dict[str, str]
    """Run directory to a label, which says how it differs from the others."""

    @cached_property
    def varied(self) -> list[str]:
        """The settings that tell its grid points apart."""
        return varying([settings.described() for settings in self.points.values()])

    @cached_property
    def values(self) -> dict[str, set]:
        """The values that each setting takes in it."""
        every = [vars(settings) for settings in self.points.values()]
        return {name: {values[name] for values in every} for name in NAMES}


def all_points(sweeps: Mapping[str, Sweep]) -> dict[str, Settings]:
    """Every grid point once, by its run directory."""
    return {run: s for sweep in sweeps.values() for run, s in sweep.points.items()}


def read_sweeps(config: Config) -> dict[str, Sweep]:
    """Every sweep by its name; raises ConfigError, which names every mistake.

    Refuses what cannot be trained, values that change nothing, and figures that cannot be drawn.
    """
    mistakes: list[Mistake] = []
    sweeps = {name: _read_sweep(config, name, mistakes) for name in config.sweeps}
    config.refuse(mistakes)
    for name, figure in config.drawings().items():
        if figure.sweep:
            problem = undrawable(figure.plot, list(sweeps[figure.sweep].points.values()))
            if problem:
                mistakes.append((("figures", name), f"sweep {figure.sweep} {problem}"))
    config.refuse(mistakes)
    return sweeps


def _read_sweep(config: Config, name: str, mistakes: list[Mistake]) -> Sweep:
    where = ("sweeps", name)
    points: dict[str, Settings] = {}
    labels: dict[str, tuple[str, frozenset[str]]] = {}
    tried: dict[tuple[Key, str], dict[Any, bool]] = {}
    for settings, own, label in _combinations(config, name):
        problem = untrainable(settings)
        if problem:
            mistakes.append((where, problem))
            continue
        directory = run_directory(settings)
        points[directory] = settings
        if label:
            labels[directory] = label
        used = meaningful(vars(settings))
        for key, values in own.items():
            for setting, value in values.items():
                outcomes = tried.setdefault((key, setting), {})
                outcomes[value] = outcomes.get(value, False) or setting in used
    for (key, setting), outcomes in tried.items():
        lost = [value for value, used in outcomes.items() if not used]
        if lost:
            mistakes.append(((*where, *key, setting), _changes_nothing(setting, lost, points)))
    rows = {directory: settings.described() for directory, settings in points.items()}
    return Sweep(points, describe(rows, labels))


def _combinations(
    config: Config, name: str
) -> Iterator[tuple[Settings, dict[Key, dict[str, Any]], tuple[str, frozenset[str]] | None]]:
    """Settings of each grid point, the values that the sweep itself gives, by key, and its label.

    Built in < `defaults` < the family's block < the sweep's preset < its values < the preset of an
    entry of `points` < the values of that entry.
    """
    block = config.sweeps[name]
    lists = {n: getattr(block, n) for n in NAMES if n in block.model_fields_set}
    presets = {n: p.model_dump(exclude_unset=True) for n, p in config.presets.items()}
    families = {n: f.model_dump(exclude_unset=True) for n, f in config.families.items()}
    base = {**DEFAULTS, **config.defaults.model_dump(exclude_unset=True)}
    entries: list[tuple[Key, dict, dict, str | None]] = []
    for i, point in enumerate(block.points or []):
        values = point.model_dump(exclude_unset=True, exclude={"preset", "label"})
        entries.append((("points", i), presets.get(point.preset, {}), values, point.label))
    for combination in itertools.product(*lists.values()):
        values = dict(zip(lists, combination, strict=True))
        for key, preset, own, label in entries or [((), {}, {}, None)]:
            chosen = {**presets.get(block.preset, {}), **values, **preset, **own}
            family = families.get(chosen.get("family", base["family"]), {})
            given: dict[Key, dict[str, Any]] = {(): values} | ({key: own} if key else {})
            covered = (label, frozenset({**preset, **own})) if label else None
            yield settle({**base, **family, **chosen}), given, covered


def _changes_nothing(setting: str, lost: list, points: Mapping[str, Settings]) -> str:
    values = ", ".join(map(str, lost))
    needs = ABOUT[setting].needs
    some = [p for p in points.values() if ABOUT[setting].of in FAMILIES[p.family].parts]
    if needs and some:
        needed = " and ".join(f"{n} {' or '.join(map(str, v))}" for n, v in needs.items())
        return f"{values} changes nothing: it needs {needed}; allowed: left out"
    families = ", ".join(dict.fromkeys(settings.family for settings in points.values()))
    tasks = ", ".join(dict.fromkeys(settings.task for settings in points.values()))
    return (
        f"{values} changes nothing: family {families} with task {tasks} has no such setting; "
        "allowed: left out (config/README.md says what has it)"
    )


@cache
def untrainable(settings: Settings) -> str | None:
    """Why no model or dataset can have these settings, and what is allowed; None if one can."""
    used = meaningful(vars(settings))
    if "heads" in used:
        if settings.embed_dim % settings.heads:
            return (
                f"heads {settings.heads} with embed_dim {settings.embed_dim}; allowed: heads that "
                "divide embed_dim"
            )
        rotated = settings.rotary_fraction * settings.embed_dim / settings.heads
        even = abs(rotated - 2 * max(1, round(rotated / 2))) <= 1e-6
        if settings.pos_encoding == "rotary" and not even:
            return (
                f"rotary with {rotated:g} rotated features per head; allowed: an even number, "
                "rotary_fraction * embed_dim / heads"
            )
    task, tasks = TASKS[settings.task], FAMILIES[settings.family].tasks
    if settings.task not in tasks:
        return f"family {settings.family} with task {settings.task}; allowed: {', '.join(tasks)}"
    if settings.vocab_size < task.min_vocab_size:
        return (
            f"vocab_size {settings.vocab_size} is too small for the entities of {settings.task}; "
            f"allowed: at least {task.min_vocab_size}"
        )
    if task.max_train_facts and settings.train_facts > task.max_train_facts(settings):
        return (
            f"train_facts {settings.train_facts} with vocab_size {settings.vocab_size}; allowed: "
            f"at most {task.max_train_facts(settings)}"
        )
    return None


def undrawable(plot_name: str, points: Collection[Settings]) -> str | None:
    """Why a plot cannot draw grid points, and what it could; None if it can."""
    plot = PLOTS[plot_name]
    for table in plot.tables:
        shown = [point for point in points if table in FAMILIES[point.family].tables]
        if not shown:
            families = [family for family in FAMILIES if table in FAMILIES[family].tables]
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
    """The settings that tell described grid points apart: those that take several values.

    One that follows from the family and the task, as the rates in `families`, is not among them.
    """
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["family"], row["task"]), []).append(row)
    found = []
    for name in NAMES:
        among = [list(rows)] if name in ("family", "task") else groups.values()
        if any(len({row[name] for row in group} - {None}) > 1 for group in among):
            found.append(name)
    return found


def describe(
    rows: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, tuple[str, frozenset[str]]] | None = None,
) -> dict[str, str]:
    """What tells each described grid point from the others, in words: `V = 80, ALiBi`.

    `labels` has the label of some, with the settings that it stands for.
    """
    names = varying(list(rows.values()))
    found = {}
    for directory, row in rows.items():
        label, covered = (labels or {}).get(directory, ("", frozenset()))
        words = [label, *(in_words(n, row[n]) for n in names if n not in covered)]
        found[directory] = ", ".join(filter(None, words))
    return found


def run_directory(settings: Settings) -> str:
    """Hive partitions of a run, relative to `results/runs`: two settings never share one."""
    row = settings.described()
    card = [f"{name}={NOTHING if row[name] is None else row[name]}" for name in CARD]
    return "/".join([*card, _rest(row, set(CARD))])


def dataset_directory(settings: Settings) -> str:
    """Hive partitions of the dataset that a run reads, relative to `results/data`."""
    row = {name: v for name, v in settings.described().items() if ABOUT[name].data}
    shown = {"task", "vocab_size"}
    return "/".join([*(f"{name}={row[name]}" for name in row if name in shown), _rest(row, shown)])


def _rest(row: Mapping[str, Any], shown: set[str]) -> str:
    """The last partition: every other setting that differs from its built-in default, sorted."""
    text = "+".join(
        f"{name}-{str(value).lower() if isinstance(value, bool) else value}"
        for name, value in sorted(row.items())
        if name not in shown and value is not None and value != DEFAULTS[name]
    )
    if len(text) > LONGEST:
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        text = f"{text[: LONGEST - 30]}~{digest}"
    return f"settings={text or 'default'}"


def own_folder(config: Config, results: Path) -> Path:
    """Where a config's figures, tables and ledger lie: `results`, or `results/NAME`."""
    return results / config.name if config.name else results


def refuse_old_layout(results: Path) -> None:
    """Raise UserError where `results` holds runs as version 0.1 laid them out."""
    old = next((results / "runs").glob("task=*/family=*/layers=*/heads=*"), None)
    if old or (results / "trained").exists():
        raise UserError(
            f"{results}: holds runs of version 0.1 (settings=HASH), which cannot be read; move "
            f"{results} away, or delete {results}/runs, {results}/trained and {results}/sweeps"
        )
