"""Compare two configs, results folders or sweeps: settings, verdicts, paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import polars as pl

from reversal_curse.config.errors import UserError, first_line
from reversal_curse.config.file import Config
from reversal_curse.config.grid import describe, own_folder, read_sweeps
from reversal_curse.config.settings import NAMES
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.files import read_table
from reversal_curse.tables.run_files import some
from reversal_curse.tables.schemas import TABLES
from reversal_curse.tables.summaries import final_by_seed, t_interval

MEASURES = {
    "train_nll_token": "trained: loss",
    "unseen_nll_token": "unseen: loss",
    "unseen_accuracy": "said: accuracy",
    "unseen_accuracy_choice": "known: accuracy",
    "unseen_rank_choice": "known: rank",
}
MADE_BY = ("commit", "code", "torch", "device_name", "trained_in")
Point = dict[str, Any]
"""A row of `points.parquet`."""
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 75rem; margin: 1rem auto; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
div { overflow-x: auto }
th, td { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0 }
tr { border-bottom: 1px solid #ccc }
</style>
<h1>{{ title }}</h1>
{% for section in sections %}
<h2>{{ section.title }}</h2>
<p>{{ section.note }}</p>
{% if not section.rows %}<p>none{% else %}
<div><table>
<tr>{% for cell in section.header %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in section.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endif %}
{% endfor %}
</html>
"""


@dataclass(frozen=True)
class Side:
    """What is compared with another."""

    points: list[Point]
    last: pl.DataFrame
    """The last values of each seed."""
    claims: pl.DataFrame | None
    """The ledger; None if there is none, or if this is a sweep."""


@dataclass(frozen=True)
class Section:
    """A table of the comparison."""

    title: str
    header: Sequence[str]
    rows: list[Sequence[str]]
    note: str = ""


def read_side(text: str, results: Path) -> Side:
    """Read what a name, a folder, CONFIG.yaml or CONFIG.yaml:SWEEP stands for."""
    file, colon, sweep = text.rpartition(":") if ".yaml:" in text else (text, "", "")
    chosen = None
    if file.endswith(".yaml"):
        config = Config.load(file)
        folder, sweeps = own_folder(config, results), read_sweeps(config)
        if colon and sweep not in sweeps:
            raise UserError(f"{file}: sweep must be one of {', '.join(sweeps)}, got {sweep}")
        chosen = sweeps[sweep].points if colon else None
    else:
        folder = next((f for f in (results / text, Path(text)) if f.is_dir()), None)
    if folder is None or not (folder / "points.parquet").exists():
        kinds = "a results folder, the name of a config, CONFIG.yaml or CONFIG.yaml:SWEEP"
        raise UserError(f"{text}: must be {kinds}, with a points.parquet (`snakemake metrics`)")
    points, ledger = read_table(folder / "points.parquet", "points"), folder / "claims.parquet"
    if chosen is not None:
        points = points.filter(pl.col("run").is_in(list(chosen)))
        if lost := len(chosen) - points.height:
            raise UserError(f"{folder}/points.parquet: lacks {lost} grid points of {text}")
    metrics = folder / "metrics.parquet"
    try:
        table = pl.read_parquet(metrics, columns=["run", *TABLES["metrics"].schema])
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise UserError(f"{metrics}: cannot be read: {first_line(error)}") from None
    last = final_by_seed(table.filter(pl.col("run").is_in(points["run"].implode())))
    if lost := set(points["run"]) - set(last["run"]):
        raise UserError(f"{metrics}: lacks {min(lost)}, which points.parquet has; aggregate again")
    claims = read_table(ledger, "claims") if chosen is None and ledger.exists() else None
    return Side(points.to_dicts(), last, claims)


def compare(a: Side, b: Side) -> list[Section]:
    """Tabulate what differs between two sides."""
    changed, pairs = _pair(a.points, b.points)
    alone = f"{len(a.points) - len(pairs)} only in A, {len(b.points) - len(pairs)} only in B"
    differences = _differences(a, b, pairs)
    same = len(pairs) - len(differences)
    sections = [
        Section("settings that differ", ("of", "setting", "A", "B"), changed),
        Section("made by", ("", "A", "B"), _made_by(pairs)),
        Section(
            "B - A",
            ("grid point", "seeds", *MEASURES.values()),
            differences,
            f"{len(pairs)} shared grid points ({alone}), {same} of them the same in every seed. "
            "Of the others: mean of the seeds' differences [its 95 % t interval], * if 0 is "
            "outside, as by chance in one of twenty.",
        ),
    ]
    if a.claims is not None and b.claims is not None:
        verdicts = _verdicts(a.claims.join(b.claims, on="id", suffix="_b"))
        sections.append(Section("verdicts that changed", ("claim", "A", "B"), verdicts))
    return sections


def _pair(
    mine: list[Point], theirs: list[Point]
) -> tuple[list[Sequence[str]], list[tuple[Point, Point]]]:
    """Pair grid points that agree in all settings but those with one value on each side.

    Returns the settings that differ, and the pairs.
    """
    of_all = {n: c for n in ("task", "family") if (c := _change(n, mine, theirs))}
    kinds = [name for name in ("task", "family") if name not in of_all]
    groups = [_grouped(points, kinds) for points in (mine, theirs)]
    changed: list[Sequence[str]] = [("all", n, *map(str, c)) for n, c in of_all.items()]
    pairs = []
    for kind, points in groups[0].items():
        others = groups[1].get(kind, [])
        constant = {n: c for n in NAMES if n not in of_all and (c := _change(n, points, others))}
        kept = [name for name in NAMES if name not in constant and name not in of_all]
        known = {tuple(point[name] for name in kept): point for point in others}
        keys = [tuple(point[name] for name in kept) for point in points]
        pairs += [(x, known[key]) for x, key in zip(points, keys, strict=True) if key in known]
        for name in NAMES if others else ():
            values = [list(dict.fromkeys(p[name] for p in side)) for side in (points, others)]
            if name not in of_all and {*values[0]} != {*values[1]}:
                shown = (some(sorted(str(v) for v in side if v is not None)) for side in values)
                changed.append((", ".join(kind) or "all", name, *shown))
    return changed, pairs


def _grouped(points: list[Point], names: list[str]) -> dict[tuple, list[Point]]:
    groups: dict[tuple, list[Point]] = {}
    for point in points:
        groups.setdefault(tuple(point[name] for name in names), []).append(point)
    return groups


def _change(name: str, mine: list[Point], theirs: list[Point]) -> tuple[Any, Any] | None:
    """Return the two values of a setting that has one on each side, if they differ."""
    values = [{point[name] for point in points} for points in (mine, theirs)]
    if [*map(len, values)] != [1, 1] or values[0] == values[1]:
        return None
    return values[0].pop(), values[1].pop()


def _made_by(pairs: list[tuple[Point, Point]]) -> list[Sequence[str]]:
    """Say in what the runs of shared grid points differ that is no setting."""
    found = []
    sides = list(zip(*pairs, strict=True))
    for name in MADE_BY if sides else ():
        values = [sorted({str(point[name])[:10] for point in side}) for side in sides]
        if values[0] != values[1]:
            found.append((name, *map(some, values)))
    return found


def _differences(a: Side, b: Side, pairs: list[tuple[Point, Point]]) -> list[Sequence[str]]:
    """Write the paired differences of each measure, for the pairs that differ at all."""
    labels = describe({x["run"]: x for x, _ in pairs})
    sides = [side.last.partition_by("run", as_dict=True) for side in (a, b)]
    rows = []
    for x, y in pairs:
        mine, theirs = (side[(point["run"],)] for side, point in zip(sides, (x, y), strict=True))
        both = mine.join(theirs, on="seed", suffix="_b", maintain_order="left")
        every = [both[f"{name}_b"] - both[name] for name in MEASURES]
        if any((column != 0).any() for column in every):
            label = labels[x["run"]] or x["family"]
            rows.append((label, str(both.height), *map(_interval, every)))
    return rows


def _interval(differences: pl.Series) -> str:
    """Write a mean and its interval over the seeds whose difference is finite."""
    kept = differences.drop_nulls().to_numpy().astype(float)
    finite = kept[np.isfinite(kept)]
    if not finite.any():
        return "0" if len(finite) else "-"
    low, high = t_interval(finite)
    text = f"{finite.mean():+.3g}"
    if len(finite) > 1:
        text += f" [{low:.3g}, {high:.3g}]{'*' if low > 0 or high < 0 else ''}"
    left_out = len(kept) - len(finite)
    return f"{text} ({left_out} diverged)" if left_out else text


def _verdicts(both: pl.DataFrame) -> list[Sequence[str]]:
    changed = both.filter(pl.col("verdict") != pl.col("verdict_b")).to_dicts()
    claims = [f"{row['id']}: {row['statement']}" for row in changed]
    return [(n, _verdict(r), _verdict(r, "_b")) for n, r in zip(claims, changed, strict=True)]


def _verdict(row: Mapping[str, Any], end: str = "") -> str:
    effect, low, high = (row[f"{name}{end}"] for name in ("effect", "ci_low", "ci_high"))
    found = "" if effect is None else f": {effect:.3g} [{low:.3g}, {high:.3g}]"
    return row[f"verdict{end}"] + found


def as_text(sections: list[Section]) -> str:
    """Write the tables for a terminal."""
    text = []
    for section in sections:
        text.append(f"{section.title}{'' if section.rows else ': none'}")
        text += [f"  {section.note}"] if section.note else []
        lines = [section.header, *section.rows] if section.rows else []
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (f"{cell:{width}}" for cell, width in zip(line, widths, strict=True))
            text.append(f"  {'  '.join(cells)}".rstrip())
        text.append("")
    return "\n".join(text)


def write_page(sections: list[Section], title: str, output: Path) -> None:
    """Write the tables as a page for a browser."""
    page = jinja2.Template(PAGE, autoescape=True).render(title=title, sections=sections)
    with replacing(output) as partial:
        partial.write_text(page, encoding="utf-8")
