"""The ledger: every claim judged on what a config measured, as a table and as a page."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import polars as pl

from reversal_curse.analysis import LEARNED_ACCURACY
from reversal_curse.atomic import replacing
from reversal_curse.claims import (
    chain,
    diffusion,
    mechanism,
    one_layer,
    pretrained,
    reversal,
    theory,
)
from reversal_curse.claims.claim import NOT_TESTED, Claim, Tables, judge
from reversal_curse.config import Config
from reversal_curse.provenance import commit
from reversal_curse.registry import PRETRAINED_TABLES, uses
from reversal_curse.settings import AXES, Settings
from reversal_curse.sweep import sweep_points
from reversal_curse.tables import TABLES, read_aggregated, read_table, write_table

GROUPS = {
    "Reversal": reversal.CLAIMS,
    "Chain of thought and in context": chain.CLAIMS,
    "Theory: the bilinear model": theory.CLAIMS,
    "Theory: the one-layer transformer": one_layer.CLAIMS,
    "Masked diffusion": diffusion.CLAIMS,
    "Masked diffusion: the mechanism": mechanism.CLAIMS,
    "Pretrained models": pretrained.CLAIMS,
}
CLAIMS: dict[str, Claim] = {claim.id: claim for group in GROUPS.values() for claim in group}
_BUILT_IN = Settings()
MARKS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?"}


def claim_tables(config: Config) -> list[str]:
    """Aggregated tables (below `results`) that the claims of a config read."""
    needed = {
        f"{source}/{table}.parquet"
        for claim in CLAIMS.values()
        if (source := claim.source(config))
        for table in claim.tables
    }
    return sorted(needed)


def evaluate(config: Config, results: Path) -> pl.DataFrame:
    """The `claims` table: every claim judged; raises UserError where a table is missing."""
    rows = []

    @cache
    def read(source: str, table: str) -> pl.DataFrame:
        path = results / source / f"{table}.parquet"
        if source == "pretrained":
            return read_table(path, PRETRAINED_TABLES[table].name)
        return read_aggregated(path, table)

    for claim in CLAIMS.values():
        source = claim.source(config)
        tables: Tables | None = None
        if source is not None:
            tables = {table: read(source, table) for table in claim.tables}
        result = judge(claim, tables)
        rows.append(
            {
                "id": claim.id,
                "paper": claim.paper,
                "statement": claim.statement,
                "grid": _grid(config, source) if source else "",
                "figure": claim.figure,
                "measures": claim.measures,
                "threshold": claim.threshold,
                **vars(result),
            }
        )
    return TABLES["claims"].conform(pl.DataFrame(rows, infer_schema_length=None))


def _grid(config: Config, source: str) -> str:
    """A sweep in words: its name, its size, and its axes where they vary or are no default.

    Of pretrained models their names.
    """
    if source == "pretrained":
        return f"pretrained: {', '.join(model.name for model in config.pretrained)}"
    name = source.removeprefix("sweeps/")
    sweep = next(sweep for sweep in config.sweeps if sweep.name == name)
    points = list(sweep_points(config, sweep).values())
    parts = []
    for axis in AXES:
        values = sorted({getattr(point, axis) for point in points})
        default = getattr(config.defaults, axis, None) or getattr(_BUILT_IN, axis)
        meant = any(axis in uses(point.family, point.task) for point in points)
        if len(values) > 1 or (meant and values != [default]):
            parts.append(f"{axis} {', '.join(map(str, values))}")
    size = "1 grid point" if len(points) == 1 else f"{len(points)} grid points"
    return "; ".join([f"{name}: {size}", *parts])


def page(config: Config, table: pl.DataFrame) -> str:
    """The ledger as a Markdown page."""
    counts = dict(table.group_by("verdict", maintain_order=True).len().iter_rows())
    digest = hashlib.sha256(config.to_json().encode()).hexdigest()[:12]
    lines = [
        "# Ledger of claims",
        "",
        "Every statement of the papers that a number decides, judged on this run. The effect is a",
        "mean over seeds; its interval is a 95 % bootstrap over seeds, and has no width where the",
        "seeds agree, as they do where a seed only draws the sentences of an exact theory. A claim",
        "is supported where the whole interval reaches the threshold, contradicted where none of",
        "it does, and inconclusive otherwise, and with a single seed. Beside the mean stand the",
        "median, and how many seeds reach the threshold by themselves.",
        "",
        "Not every seed counts everywhere. Most claims that something is not generalised count a",
        "seed only at those grid points where it has learned the training sentences",
        f"({100 * LEARNED_ACCURACY:.0f} % right, the right answer more probable than all others",
        "together): what an untrained model does not know is no curse. Claims that compare logits",
        "or weights count a seed only where the trained direction stands out.",
        "",
        f"{len(table)} claims: {', '.join(f'{n} {verdict}' for verdict, n in counts.items())}.",
        f"Config {digest}, code {commit() or 'outside version control'}.",
        "",
        "## Settings",
        "",
        "The built-in settings are those of Zhu et al. 2024 as their code runs: where the paper's",
        "table prints a weight decay of 0.9, the code uses 0.01. What differs from them:",
        "",
        *_differences(config),
        "",
        "Axes are said at every claim. The settings of Jeon et al. 2026 are not known to us in",
        "full; those of their experiments are ours.",
    ]
    rows = {row["id"]: row for row in table.iter_rows(named=True)}
    for group, claims in GROUPS.items():
        lines += ["", f"## {group}", "", "| claim | measured | verdict |", "| --- | --- | --- |"]
        lines += [_row(claim, rows[claim.id]) for claim in claims]
        for claim in claims:
            open_ = rows[claim.id]["verdict"] in ("contradicted", "inconclusive")
            tested = rows[claim.id]["verdict"] != NOT_TESTED
            remark = claim.remark if tested else ""
            note = f"Seen with the default config: {claim.note}" if claim.note and open_ else ""
            text = " ".join(filter(None, [remark, note]))
            lines += [f"\n**{claim.id}**: {text}"] if text else []
    return "\n".join(lines) + "\n"


def _row(claim: Claim, row: dict) -> str:
    where = f"[{claim.figure}](figures/{claim.figure}.pdf)" if row["grid"] else claim.figure
    grid = row["grid"] or "not in this config"
    text = f"{claim.statement} <br> `{claim.id}` *{claim.paper}; {where}; {grid}*"
    measured = f"{claim.measures}; at least {claim.threshold:.3g} ({claim.because})"
    if row["effect"] is not None:
        interval = f"[{row['ci_low']:.3g}, {row['ci_high']:.3g}]"
        seeds = f"{row['n_reaching']} of {row['n_seeds']} seed{'s' * (row['n_seeds'] > 1)}"
        measured = (
            f"**{row['effect']:.3g}** {interval}, median {row['median']:.3g}, {seeds} <br> "
            f"{measured}"
        )
    verdict = f"{MARKS.get(row['verdict'], '–')} {row['verdict']}"
    cells = [cell.replace("|", "\\|") for cell in (text, measured, verdict)]
    return f"| {' | '.join(cells)} |"


def _differences(config: Config) -> list[str]:
    """One line per setting of `defaults`, families and variants that is not the built-in one."""
    built_in = _BUILT_IN.model_dump()
    blocks = {
        "defaults": config.defaults,
        **{f"family {name}": block for name, block in config.families.items()},
        **{f"variant {name}": block for name, block in config.variants.items()},
    }
    found = [
        f"* {where}: "
        + ", ".join(
            f"{name} {value} (built in: {built_in[name]})" for name, value in differing.items()
        )
        for where, block in blocks.items()
        if (
            differing := {
                name: value
                for name, value in block.model_dump(exclude_unset=True).items()
                if value != built_in[name]
            }
        )
    ]
    return found or ["None."]


def write_ledger(config: Config, results: Path, table_path: Path, page_path: Path) -> pl.DataFrame:
    """Judge every claim; write the table and the page; returns the table."""
    table = evaluate(config, results)
    text = page(config, table)
    write_table(table_path, table, TABLES["claims"])
    with replacing(page_path) as partial:
        partial.write_text(text, encoding="utf-8")
    return table
