"""The ledger: every claim judged on what a config measured, as a table and as a page."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from reversal_curse.claims import (
    chain,
    diffusion,
    mechanism,
    one_layer,
    pretrained,
    remedies,
    reversal,
    theory,
)
from reversal_curse.claims.claim import Claim, Selection, Tables, select
from reversal_curse.claims.judgement import (
    CONTRADICTED,
    INCONCLUSIVE,
    LEAST_SEEDS,
    NOT_TESTED,
    SUPPORTED,
    Judgement,
    holm,
    judge,
)
from reversal_curse.config.file import Config
from reversal_curse.config.grid import Sweep, all_points, pretrained_file, read_sweeps
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.settings import DEFAULTS, NAMES, Settings
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.files import read_runs, read_table, write_table
from reversal_curse.tables.provenance import commit
from reversal_curse.tables.run_files import Runs
from reversal_curse.tables.schemas import TABLES
from reversal_curse.tables.summaries import LEARNED_ACCURACY

GROUPS = {
    "Reversal": reversal.CLAIMS,
    "Chain of thought and in context": chain.CLAIMS,
    "Theory: the bilinear model": theory.CLAIMS,
    "Theory: the one-layer transformer": one_layer.CLAIMS,
    "Masked diffusion": diffusion.CLAIMS,
    "Masked diffusion: the mechanism": mechanism.CLAIMS,
    "Remedies": remedies.CLAIMS,
    "Pretrained models": pretrained.CLAIMS,
}
CLAIMS = {name: claim for group in GROUPS.values() for name, claim in group.items()}
PAPERS = {
    "P1": "Zhu, Huang, Zhang, Jordan, Jiao, Tian, Russell (NeurIPS 2024): Towards a Theoretical "
    "Understanding of the 'Reversal Curse' via Training Dynamics",
    "P2": "Jeon, Shin, Kim, Lee, No (2026): A Theoretical Analysis of Why Masked Diffusion Models "
    "Mitigate the Reversal Curse",
    "P3": "Ma, Huang, Zhu, Sojoudi (2026, arXiv 2602.02470): Breaking the Reversal Curse in "
    "Autoregressive Language Models via Identity Bridge",
    "P4": "Lin, Chen, Xu (2025, arXiv 2509.24653): Identity Bridge: Enabling Implicit Reasoning "
    "via Shared Latent Memory",
    "P5": "Golovneva, Allen-Zhu, Weston, Sukhbaatar (2024, arXiv 2403.13799): Reverse Training to "
    "Nurse the Reversal Curse",
    "P6": "Guo et al. (2024, arXiv 2403.00758): Mitigating Reversal Curse in Large Language Models "
    "via Semantic-aware Permutation Training",
    "P7": "Kitouni et al. (2024, arXiv 2406.05183): The Factorization Curse",
    "P8": "arXiv 2510.09885 (2025): masked fine-tuning of autoregressive language models",
    "P9": "arXiv 2601.07347 (2026): DiffER, masked diffusion with entities masked whole",
    "P10": "Huang et al. (2025, arXiv 2506.10887): Generalization or Hallucination? Understanding "
    "Out-of-Context Reasoning in Transformers",
    "P11": "Kim et al. (2026, arXiv 2509.21993): Bilinear relational structure fixes reversal "
    "curse and enables consistent model editing",
    "ours": "this project",
}
VERDICTS = SUPPORTED, CONTRADICTED, INCONCLUSIVE, NOT_TESTED
MARKS = {"supported": "✓", "contradicted": "✗", "inconclusive": "?"}
FAMILY_WISE = 0.05
PAGE = """# Ledger of claims

{summary}
## How to read it

Every statement of the papers that a number can decide, judged on this run. The effect is a mean
over seeds with its 95 % interval (Student's t); of several grid points the least favourable one is
shown. A claim is supported if the whole interval lies beyond the threshold at every grid point,
contradicted if it lies on the other side at one, and inconclusive otherwise, or with fewer than
{least} seeds. Then come the median and the seeds that meet the threshold by themselves. Seeds left
out have not learned what is compared ({learned:.0f} % of the training answers right, the right one
more probable than all others together; or, for logits and weights, a trained direction that stands
out): what an untrained model does not know is not a curse. A seed with a number that is not finite
is left out everywhere. Intervals assume that means over seeds are nearly normal; one of width 0
says that all seeds agree, not that none could differ.

**Evidence** can come out either way. A **check** is true by construction: it tests the code, not
the paper. *Said* is judged among all tokens, *known* among the possible answers alone.

Of the {judged} verdicts on evidence, {survive} stand together: the chance that any of them is wrong
is below 5 % (Holm 1979). The others are marked "alone".

Config {config}, judged by commit {code}.
{origin}

## Settings

The built-in settings are those of the code of Zhu et al. 2024, which uses a weight decay of 0.01,
where the paper's table prints 0.9. This config differs from them as follows:

{differences}

Each claim names its other settings. We do not know all settings of Jeon et al. 2026; those of
their experiments are our own.

## Papers

{papers}
"""


def claim_points(sweeps: Mapping[str, Sweep]) -> dict[str, Settings]:
    """Return the grid points that the claims are judged on."""
    chosen = (select(claim, sweeps) for claim in CLAIMS.values() if not claim.pretrained)
    return {run: settings for some in chosen for run, settings in some.points.items()}


def claims_with_tables(
    config: Config, runs: Runs
) -> Iterator[tuple[str, Claim, Selection, Tables]]:
    """Yield each claim, the grid points it is about, and its tables; none if it is not tested."""
    sweeps = read_sweeps(config)
    every = all_points(sweeps)
    untested = "" if config.pretrained else "not in this config: it has no pretrained models"

    @cache
    def read(wanted: tuple[str, ...], table: str) -> pl.DataFrame:
        if table.startswith("pretrained_"):
            return read_table(pretrained_file(config, runs.results, table), table)
        return read_runs({run: every[run] for run in wanted}, table, runs, {})

    for name, claim in CLAIMS.items():
        chosen = Selection(reason=untested) if claim.pretrained else select(claim, sweeps)
        tables = () if chosen.reason else claim.tables
        yield name, claim, chosen, {t: read(tuple(chosen.points), t) for t in tables}


def evaluate(config: Config, runs: Runs) -> pl.DataFrame:
    """Judge every claim and return the `claims` table; raises UserError if a table is missing."""
    rows = []
    for name, claim, chosen, tables in claims_with_tables(config, runs):
        untested = Judgement(NOT_TESTED, reason=chosen.reason)
        result = judge(claim, tables) if tables else untested
        grid = _grid(config, chosen) if tables else ""
        ends = {"threshold": claim.threshold.above, "threshold_below": claim.threshold.below}
        kind = "check" if claim.check else "evidence"
        own = {"kind": kind, "grid": grid, "figure": _figure(config, claim, chosen.sweeps)}
        rows.append({"id": name, **vars(claim), **ends, **own, **vars(result)})
    table = pl.DataFrame(rows, TABLES["claims"].schema)  # the schema drops other fields
    evidence = pl.when(kind="evidence").then("p_value")
    return table.with_columns(p_holm=holm(table.select(p_value=evidence)["p_value"]))


def _figure(config: Config, claim: Claim, sweeps: tuple[str, ...]) -> str | None:
    """Return a figure of the config that draws what the claim was judged on, or None."""
    for name, figure in config.drawings().items():
        here = claim.pretrained or figure.sweep in sweeps
        if here and claim.tables[0] in PLOTS[figure.plot].tables:
            return name
    return None


def _grid(config: Config, chosen: Selection) -> str:
    """Say what a claim was judged on: models, or sweeps, their size and their unusual settings."""
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


def described(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of the ledger, with the words for them."""
    sections = {name: section for section, claims in GROUPS.items() for name in claims}
    rows = []
    for row in table.iter_rows(named=True):
        claim, verdict = CLAIMS[row["id"]], row["verdict"]
        above, because, below = claim.threshold
        ends = f"above {above:.3g}" + (f" and below {below:.3g}" if below < math.inf else "")
        words = {"section": sections[row["id"]], "check": claim.check, "remark": claim.remark}
        words |= {"wanted": f"{ends} ({because})", "mark": MARKS.get(verdict, "–")}
        words["said"] = f"{verdict}, alone" if alone(row) else verdict
        if row["effect"] is not None:
            words["found"] = f"{row['effect']:.3g}"
            words["interval"] = f"[{row['ci_low']:.3g}, {row['ci_high']:.3g}]"
            words["of_seeds"] = _of_seeds(row)
        rows.append(row | words)
    return rows


def counts(rows: list[dict[str, Any]]) -> list[list[Any]]:
    """Count the verdicts on evidence and on checks: a table with its header."""
    found = Counter((row["kind"], row["verdict"]) for row in rows)
    lines = [[kind, *(found[kind, v] for v in VERDICTS)] for kind in ("evidence", "check")]
    return [["", *VERDICTS], *lines]


def unsettled(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the claims that are contradicted, then those that the run leaves open."""
    verdicts = (CONTRADICTED, INCONCLUSIVE)
    return {verdict: [row for row in rows if row["verdict"] == verdict] for verdict in verdicts}


def page(config: Config, table: pl.DataFrame, origin: Iterable[str]) -> str:
    """Return the ledger as a Markdown page; `origin` says where its runs come from."""
    rows = described(table)
    judged = table.filter(pl.col("verdict").is_in([SUPPORTED, CONTRADICTED]), kind="evidence")
    text = PAGE.format(
        summary=_summary(rows),
        least=LEAST_SEEDS,
        learned=100 * LEARNED_ACCURACY,
        judged=len(judged),
        survive=len(judged) - sum(map(alone, judged.to_dicts())),
        config=config.digest,
        code=commit() or "outside version control",
        origin="\n".join(f"* {line}." for line in origin),
        differences="\n".join(_differences(config)),
        papers="\n".join(f"* {key}: {paper}." for key, paper in PAPERS.items()),
    )
    for section in GROUPS:
        for kind, title in (("evidence", section), ("check", f"{section}: checks")):
            own = [row for row in rows if (row["section"], row["kind"]) == (section, kind)]
            if not own:
                continue
            cells = [["claim", "measured", "verdict"], *map(_cells, own)]
            text += f"\n## {title}\n\n{_table(cells)}"
            for row in own:
                if row["remark"] and row["verdict"] != NOT_TESTED:
                    text += f"\n**{row['id']}**: {row['remark']}\n"
    return text


def _table(lines: list[list[Any]]) -> str:
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    cells.insert(1, ["---"] * len(cells[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _summary(rows: list[dict[str, Any]]) -> str:
    """Count the verdicts, and list what is not settled."""
    text = _table(counts(rows))
    for verdict, some in unsettled(rows).items():
        text += f"\n**{verdict.capitalize()}**: {len(some) or 'none'}\n\n"
        for row in some:
            check = " (a check)" if row["check"] else ""
            effect = f"**{row['found']}** {row['interval']}, {row['measures']}"
            text += f"* [`{row['id']}`](#{row['id']}){check} {row['statement']} {effect}\n"
    return text


def _cells(row: dict[str, Any]) -> list[str]:
    figure = f"[{row['figure']}](figures/{row['figure']}.pdf)" if row["figure"] else ""
    check = row["check"] and f"a check: {row['check']}"
    where = "; ".join(filter(None, [row["paper"], figure, row["grid"], row["reason"], check]))
    text = f'<a id="{row["id"]}"></a>{row["statement"]} <br> `{row["id"]}` *{where}*'
    measured = f"{row['measures']}; {row['wanted']}"
    if row["effect"] is not None:
        found = f"**{row['found']}** {row['interval']}, {row['of_seeds']}"
        measured = f"{found} <br> {measured}"
    return [text, measured, f"{row['mark']} {row['said']}"]


def _of_seeds(row: dict[str, Any]) -> str:
    """Say what the effect is a mean of."""
    reaching = f"{row['n_reaching']} of {row['n_seeds']} seed{'s' * (row['n_seeds'] > 1)}"
    text = f"median {row['median']:.3g}, {reaching}"
    if row["n_points"] > 1:
        text += f", the least favourable of {row['n_points']} grid points"
    return f"{text}; {row['n_left_out']} left out" if row["n_left_out"] else text


def alone(row: dict) -> bool:
    """Tell whether a verdict on evidence would not stand among all of the ledger."""
    decided = row["kind"] == "evidence" and row["verdict"] in (SUPPORTED, CONTRADICTED)
    return decided and (row["p_holm"] or 0) >= FAMILY_WISE


def _differences(config: Config) -> list[str]:
    """Return a line per block whose settings differ from the built-in ones."""
    blocks = {"defaults": config.defaults}
    blocks |= {f"family {name}": block for name, block in config.families.items()}
    blocks |= {f"preset {name}": block for name, block in config.presets.items()}
    found = []
    for where, block in blocks.items():
        given = block.model_dump(exclude_unset=True).items()
        own = [f"{n} {v} (built in: {DEFAULTS[n]})" for n, v in given if v != DEFAULTS[n]]
        if own:
            found.append(f"* {where}: {', '.join(own)}")
    return found or ["None."]


def write_ledger(
    config: Config, runs: Runs, origin: list[str], page_path: Path, table_path: Path
) -> pl.DataFrame:
    """Judge every claim; write the page, with the `origin` of its runs, and the table."""
    table, points = evaluate(config, runs), claim_points(read_sweeps(config)).items()
    commits = Counter(runs.trained(*point)["commit"] for point in points)
    trained = [f"{n} runs trained by commit {name}" for name, n in commits.items()]
    text = page(config, table, [*trained, *origin])
    write_table(table_path, table, TABLES["claims"])
    with replacing(page_path) as partial:
        partial.write_text(text, encoding="utf-8")
    return table
