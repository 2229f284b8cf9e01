"""Compare two configs, results folders or sweeps: settings, verdicts, paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Column, Table

from reversal_curse.claims.judgement import NOT_TESTED
from reversal_curse.config.errors import UserError, first_line
from reversal_curse.config.file import Config
from reversal_curse.config.grid import describe, own_folder, read_sweeps
from reversal_curse.config.settings import NAMES
from reversal_curse.jobs.plan import of
from reversal_curse.page import TEMPLATE
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.files import read_table
from reversal_curse.tables.run_files import some
from reversal_curse.tables.schemas import TABLES
from reversal_curse.tables.summaries import SHOWN, final_by_seed, t_interval

MADE_BY = ("commit", "code", "torch", "device_name", "trained_in")
PAGE = """{% extends page %}
{% block title %}{{ title }}{% endblock %}
{% block body %}
<style>td:first-child { white-space: normal; min-width: 8rem; }</style>
<h1>{{ title }}</h1>
{% for section in sections %}
<h2>{{ section.title }}</h2>
<p>{{ section.note }}</p>
{% if not section.rows %}<p>none{% else %}
<div class="wide"><table>
<tr>{% for cell in section.header %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in section.rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endif %}
{% endfor %}
{% endblock %}
"""


@dataclass(frozen=True)
class Side:
    """What is compared with another."""

    points: pl.DataFrame
    last: pl.DataFrame
    """The last values of each seed."""
    claims: pl.DataFrame | None
    """The ledger; None if there is none, or if this is a sweep."""


@dataclass(frozen=True)
class Section:
    """A table of the comparison."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
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
    return Side(points, last, claims)


def compare(a: Side, b: Side) -> list[Section]:
    """Tabulate what differs between two sides."""
    changed, pairs = _pair(a.points, b.points)
    alone = f"{len(a.points) - len(pairs)} only in A, {len(b.points) - len(pairs)} only in B"
    differences = _differences(a, b, pairs)
    shared, same = of(len(pairs), "shared grid point"), len(pairs) - len(differences)
    sections = [
        Section("settings that differ", ("of", "setting", "A", "B"), changed),
        Section("made by", ("", "A", "B"), _made_by(pairs)),
        Section(
            "B - A",
            ("grid point", "seeds", *SHOWN.values()),
            differences,
            f"{shared} ({alone}), {same} of them the same in every seed. "
            "Of the others: mean of the seeds' differences [its 95 % t interval], * if 0 is "
            "outside, as by chance in one of twenty.",
        ),
    ]
    if a.claims is not None and b.claims is not None:
        both = a.claims.join(b.claims, on="id", suffix="_b")
        differ = both.filter(pl.col("verdict") != pl.col("verdict_b"))
        tested = differ.filter(pl.all_horizontal(pl.col("verdict", "verdict_b") != NOT_TESTED))
        verdicts = [
            (f"{row['id']}: {row['statement']}", _verdict(row), _verdict(row, "_b"))
            for row in tested.to_dicts()
        ]
        note = f"{of(len(differ) - len(tested), 'claim')} tested on one side alone."
        sections.append(Section("verdicts that changed", ("claim", "A", "B"), verdicts, note))
    return sections


def _pair(a: pl.DataFrame, b: pl.DataFrame) -> tuple[list[tuple[str, ...]], list[dict[str, Any]]]:
    """Pair grid points that agree in all settings but those with one value on each side.

    Returns the settings that differ, and the pairs: rows of `a`, with those of `b` as `NAME_b`.
    """
    constant = [n for n in ("task", "family") if a[n].n_unique() == b[n].n_unique() == 1]
    of_all = [name for name in constant if a[name][0] != b[name][0]]
    kinds = [name for name in ("task", "family") if name not in of_all]
    kind = pl.concat_str(kinds, separator=", ") if kinds else pl.lit("all")
    a, b = (side.with_columns(kind=kind) for side in (a, b))
    changed: list[tuple[str, ...]] = [("all", name, a[name][0], b[name][0]) for name in of_all]
    pairs: list[dict[str, Any]] = []
    for group in (g for g in a["kind"].unique(maintain_order=True) if g in b["kind"]):
        mine, theirs = (side.filter(kind=group) for side in (a, b))
        same = []
        for name in (name for name in NAMES if name not in of_all):
            values = [set(side[name]) for side in (mine, theirs)]
            if values[0] != values[1]:
                shown = (some(sorted(map(str, side - {None}))) for side in values)
                changed.append((group, name, *shown))
            if values[0] == values[1] or [*map(len, values)] != [1, 1]:
                same.append(name)
        both = mine.join(theirs, on=same, suffix="_b", nulls_equal=True, maintain_order="left")
        pairs += both.to_dicts()
    return changed, pairs


def _made_by(pairs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Say in what the runs of shared grid points differ that is no setting."""
    found = []
    for name in MADE_BY:
        a, b = (sorted({str(pair[name + end])[:10] for pair in pairs}) for end in ("", "_b"))
        if a != b:
            found.append((name, some(a), some(b)))
    return found


def _differences(a: Side, b: Side, pairs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Write the paired differences of each measure, for the pairs that differ at all."""
    labels = describe({pair["run"]: pair for pair in pairs})
    sides = [side.last.partition_by("run", as_dict=True) for side in (a, b)]
    rows = []
    for pair in pairs:
        mine, theirs = (side[(pair[n],)] for side, n in zip(sides, ("run", "run_b"), strict=True))
        both = mine.join(theirs, on="seed", suffix="_b", maintain_order="left")
        every = [both[f"{name}_b"] - both[name] for name in SHOWN]
        if any((column != 0).any() for column in every):
            label = labels[pair["run"]] or pair["family"]
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


def _verdict(row: Mapping[str, Any], end: str = "") -> str:
    effect, low, high = (row[f"{name}{end}"] for name in ("effect", "ci_low", "ci_high"))
    found = "" if effect is None else f": {effect:.3g} [{low:.3g}, {high:.3g}]"
    return row[f"verdict{end}"] + found


def show(sections: list[Section]) -> None:
    """Print the tables, as wide as the terminal."""
    out = Console(highlight=False, emoji=False, markup=False)
    out.width = out.width if out.is_terminal else 200  # lines of a file are not cut
    for section in sections:
        columns = (Column(name, overflow="fold") for name in section.header)
        table = Table(*columns, box=None, padding=(0, 0, 0, 2))
        for row in section.rows:
            table.add_row(*row)
        title = f"{section.title}{'' if section.rows else ': none'}"
        out.print(title, *filter(None, [section.note]), *[table] * bool(section.rows), "", sep="\n")


def write_page(sections: list[Section], title: str, output: Path) -> None:
    """Write the tables as a page for a browser."""
    templates = jinja2.Environment(autoescape=True)
    given = {"title": title, "sections": sections, "colours": {}}
    page = templates.from_string(TEMPLATE.read_text(encoding="utf-8"))
    with replacing(output) as partial:
        text = templates.from_string(PAGE).render(page=page, **given)
        partial.write_text(text, encoding="utf-8")
