"""The ledger: every claim judged on what a config measured, as a table and as a page."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import polars as pl

from reversal_curse.claims import (
    chain,
    diffusion,
    mechanism,
    one_layer,
    pretrained,
    reversal,
    theory,
)
from reversal_curse.claims.claim import NOT_TESTED, Claim, Judgement, Selection, judge, select
from reversal_curse.config.file import Config
from reversal_curse.config.grid import Sweep, all_points, read_sweeps
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.settings import DEFAULTS, NAMES, Settings
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.files import read_runs, read_table, write_table
from reversal_curse.tables.provenance import commit
from reversal_curse.tables.schemas import TABLES
from reversal_curse.tables.summaries import LEARNED_ACCURACY

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
PAPERS = {
    "P1": "Zhu, Huang, Zhang, Jordan, Jiao, Tian, Russell (NeurIPS 2024): Towards a Theoretical "
    "Understanding of the 'Reversal Curse' via Training Dynamics",
    "P2": "Jeon, Shin, Kim, Lee, No (2026): A Theoretical Analysis of Why Masked Diffusion Models "
    "Mitigate the Reversal Curse",
}
MARKS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?"}


def claim_points(sweeps: Mapping[str, Sweep]) -> dict[str, Settings]:
    """The grid points that the claims are judged on."""
    points: dict[str, Settings] = {}
    for claim in CLAIMS.values():
        if not claim.pretrained:
            points |= select(claim, sweeps).points
    return points


def evaluate(config: Config, results: Path, root: Path) -> pl.DataFrame:
    """The `claims` table: every claim judged on runs below `results`.

    Tables of pretrained models lie below `root`. Raises UserError where a table is missing.
    """
    sweeps = read_sweeps(config)
    every = all_points(sweeps)

    @cache
    def read(runs: tuple[str, ...], table: str) -> pl.DataFrame:
        if table.startswith("pretrained_"):
            name = table.removeprefix("pretrained_")
            return read_table(root / f"pretrained/{name}.parquet", table)
        wanted = set(runs)
        points = {run: settings for run, settings in every.items() if run in wanted}
        return read_runs(points, table, results / "runs", {})

    rows = []
    for claim in CLAIMS.values():
        if claim.pretrained:
            reason = "" if config.pretrained else "not in this config: it has no pretrained models"
            chosen = Selection({}, (), reason)
        else:
            chosen = select(claim, sweeps)
        if chosen.reason:
            result = Judgement(NOT_TESTED, reason=chosen.reason)
        else:
            result = judge(claim, {t: read(tuple(chosen.points), t) for t in claim.tables})
        rows.append(
            {
                "id": claim.id,
                "paper": claim.paper,
                "statement": claim.statement,
                "grid": "" if chosen.reason else _grid(config, chosen),
                "figure": _figure(config, claim, chosen.sweeps),
                "measures": claim.measures,
                "threshold": claim.threshold,
                **vars(result),
            }
        )
    return TABLES["claims"].conform(pl.DataFrame(rows, infer_schema_length=None))


def _figure(config: Config, claim: Claim, sweeps: tuple[str, ...]) -> str | None:
    """A figure of the config that draws what the claim was judged on; None if there is none."""
    for name, figure in config.drawings().items():
        here = claim.pretrained or figure.sweep in sweeps
        if here and claim.tables[0] in PLOTS[figure.plot].tables:
            return name
    return None


def _grid(config: Config, chosen: Selection) -> str:
    """What a claim was judged on, in words: sweeps, their size, and what varies or is no default.

    Of pretrained models their names.
    """
    if not chosen.points:
        return f"pretrained: {', '.join(model.name for model in config.pretrained)}"
    rows = [settings.described() for settings in chosen.points.values()]
    base = {**DEFAULTS, **config.defaults.model_dump(exclude_unset=True)}
    of_families = set().union(*(block.model_fields_set for block in config.families.values()))
    parts = []
    for name in NAMES:
        values = sorted({row[name] for row in rows if row[name] is not None})
        if name not in of_families and values not in ([], [base[name]]):
            parts.append(f"{name} {', '.join(map(str, values))}")
    size = "1 grid point" if len(rows) == 1 else f"{len(rows)} grid points"
    return "; ".join([f"{', '.join(chosen.sweeps)}: {size}", *parts])


def page(config: Config, table: pl.DataFrame) -> str:
    """The ledger as a Markdown page."""
    counts = dict(table.group_by("verdict", maintain_order=True).len().iter_rows())
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
        f"Config {config.digest}, code {commit() or 'outside version control'}.",
        "",
        "## Settings",
        "",
        "The built-in settings are those of Zhu et al. 2024 as their code runs: where the paper's",
        "table prints a weight decay of 0.9, the code uses 0.01. What differs from them:",
        "",
        *_differences(config),
        "",
        "Other settings are said at every claim. Those of Jeon et al. 2026 are not known to us in",
        "full; those of their experiments are ours.",
        "",
        "## Papers",
        "",
        *(f"* {key}: {paper}." for key, paper in PAPERS.items()),
    ]
    rows = {row["id"]: row for row in table.iter_rows(named=True)}
    for group, claims in GROUPS.items():
        lines += ["", f"## {group}", "", "| claim | measured | verdict |", "| --- | --- | --- |"]
        lines += [_row(claim, rows[claim.id]) for claim in claims]
        for claim in claims:
            if claim.remark and rows[claim.id]["verdict"] != NOT_TESTED:
                lines.append(f"\n**{claim.id}**: {claim.remark}")
    return "\n".join(lines) + "\n"


def _row(claim: Claim, row: dict) -> str:
    figure = f"[{row['figure']}](figures/{row['figure']}.pdf)" if row["figure"] else ""
    where = "; ".join(filter(None, [claim.paper, figure, row["grid"], row["reason"]]))
    text = f"{claim.statement} <br> `{claim.id}` *{where}*"
    measured = f"{claim.measures}; at least {claim.threshold:.3g} ({claim.because})"
    if row["effect"] is not None:
        interval = f"[{row['ci_low']:.3g}, {row['ci_high']:.3g}]"
        seeds = f"{row['n_reaching']} of {row['n_seeds']} seed{'s' * (row['n_seeds'] > 1)}"
        spread = f"{interval}, median {row['median']:.3g}, {seeds}"
        measured = f"**{row['effect']:.3g}** {spread} <br> {measured}"
    verdict = f"{MARKS.get(row['verdict'], '–')} {row['verdict']}"
    cells = [cell.replace("|", "\\|") for cell in (text, measured, verdict)]
    return f"| {' | '.join(cells)} |"


def _differences(config: Config) -> list[str]:
    """One line per setting of `defaults`, families and presets that is not the built-in one."""
    blocks = {
        "defaults": config.defaults,
        **{f"family {name}": block for name, block in config.families.items()},
        **{f"preset {name}": block for name, block in config.presets.items()},
    }
    found = []
    for where, block in blocks.items():
        given = block.model_dump(exclude_unset=True).items()
        own = [f"{n} {v} (built in: {DEFAULTS[n]})" for n, v in given if v != DEFAULTS[n]]
        if own:
            found.append(f"* {where}: {', '.join(own)}")
    return found or ["None."]


def write_ledger(
    config: Config, results: Path, root: Path, table_path: Path, page_path: Path
) -> pl.DataFrame:
    """Judge every claim; write the table and the page; returns the table."""
    table = evaluate(config, results, root)
    text = page(config, table)
    write_table(table_path, table, TABLES["claims"])
    with replacing(page_path) as partial:
        partial.write_text(text, encoding="utf-8")
    return table
