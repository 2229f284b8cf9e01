"""Write docs/results.md: its template, filled from the tables of the runs of `CONFIGS`.

In the template `{CLAIM}` is a claim of the ledger and what was found, `{points[CLAIM]}` a table of
the grid points that it is judged on, `{figure[NAME]}` a picture, which is copied to docs/, and
`{BLOCK}` a table of `write_page`. `make results` writes the page.
"""

import math
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from reversal_curse.claims import ledger
from reversal_curse.claims.claim import select
from reversal_curse.claims.judgement import (
    CONTRADICTED,
    INCONCLUSIVE,
    LEAST_SEEDS,
    NOT_TESTED,
    SUPPORTED,
)
from reversal_curse.claims.ledger import CLAIMS, PAPERS
from reversal_curse.config.errors import UserError
from reversal_curse.config.file import Config
from reversal_curse.config.grid import Sweep, all_points, own_folder, read_sweeps
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.settings import in_words
from reversal_curse.families import batch_steps
from reversal_curse.tables.files import read_runs as read_tables
from reversal_curse.tables.files import read_table
from reversal_curse.tables.remedies import bench
from reversal_curse.tables.run_files import Runs
from reversal_curse.tables.summaries import SHOWN, t_half_width

CONFIGS = {"default": "config/config.yaml", "medium": "config/medium.yaml"}
"""The config of each run; only the default one must have run."""
BENCH = {"bench": "config/mitigations.yaml"}
"""The config of the bench of remedies."""
REMEDIES = ledger.GROUPS["Remedies"]
ARMS = {
    "said": "said",
    "known": "known",
    "echo": "echo",
    "forward": "forward",
    "wrong": "wrong inverses",
}
"""What the bench measures, and how the table calls it."""
TEMPLATE, PAGE = Path("docs/results.template.md"), Path("docs/results.md")
MEASURES = SHOWN | {
    "unseen_chance_accuracy": "known: accuracy of a guess",
    "unseen_nll_choice": "unseen loss: which candidate",
    "unseen_nll_set": "unseen loss: that it is one",
}
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Run:
    """What was measured with a config, and what was judged on it."""

    name: str
    config: Config
    folder: Path
    sweeps: dict[str, Sweep]
    claims: dict[str, dict[str, Any]]
    """Rows of the ledger by id."""
    points: pl.DataFrame
    records: list[Mapping[str, Any]]
    """The `run.json` of every grid point."""

    def file(self, figure: str) -> str:
        """Return the name of a picture in docs/."""
        return f"{self.config.name}_{figure}.png" if self.config.name else f"{figure}.png"


def read_runs(root: Path, configs: Mapping[str, str]) -> list[Run]:
    """Read the default run, and the others that are there; raises UserError if one is not whole."""
    runs = []
    for name, path in configs.items():
        if not (root / path).exists():
            continue
        config, results = Config.load(root / path), root / "results"
        folder, sweeps = own_folder(config, results), read_sweeps(config)
        if name != "default" and not (folder / "claims.parquet").exists():
            continue
        table = read_table(folder / "claims.parquet", "claims")
        if odd := CLAIMS.keys() ^ set(table["id"]):
            problem = f"must hold the claims of the ledger, differs in {', '.join(sorted(odd))}"
            raise UserError(f"{folder}/claims.parquet: {problem}; judge them again")
        claims = {row["id"]: row for row in ledger.described(table)}
        points = read_table(folder / "points.parquet", "points")
        trained = Runs(results, config.stale).trained
        records = [trained(*point) for point in all_points(sweeps).items()]
        runs.append(Run(name, config, folder, sweeps, claims, points, records))
    return runs


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = list(header)
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _listed(values: Iterable) -> str:
    return ", ".join(map(str, sorted(set(values))))


def what_was_run(runs: list[Run], configs: Mapping[str, str]) -> str:
    """Return a row for each config: its grid, when it was trained, and by which code."""
    rows = {name: [name, f"`{path}`", "not run", *[""] * 4] for name, path in configs.items()}
    for run in runs:
        sizes = (
            f"{name} {_listed(run.points[name].drop_nulls())}"
            for name in ("seeds", "vocab_size", "layers", "embed_dim")
        )
        commits = _listed(r["commit"] or "outside version control" for r in run.records)
        versions = [r["versions"] for r in run.records]
        software = [f"{name} {_listed(v[name] for v in versions)}" for name in versions[0]]
        rows[run.name][2:] = [
            "; ".join([f"{len(run.points)} grid points", *sizes]),
            _listed(r["started"][:10] for r in run.records),
            f"{sum(r['wall_seconds'] for r in run.records):,.0f}",
            re.sub(r"([0-9a-f]{8})[0-9a-f]{32}", r"\1", commits),
            ", ".join([*software, _listed(r["device"] for r in run.records)]),
        ]
    header = ("run", "config", "grid", "trained on", "seconds of training", "code", "versions")
    return _table(header, rows.values())


def counts(runs: list[Run]) -> str:
    """Count the verdicts of each run, those on checks apart."""
    lines = []
    for run in runs:
        rows = [*run.claims.values()]
        header, evidence, checks = ledger.counts(rows)
        alone = str(sum(map(ledger.alone, rows)))
        lines += [[run.name, *map(str, evidence), alone], [run.name, *map(str, checks), ""]]
    return _table(("run", "kind", *header[1:], "alone"), lines)


def found(run: Run, name: str, shown: set[str]) -> str:
    """Return a run's verdict on a claim: its numbers, its figure, and what would settle it."""
    row = run.claims[name]
    verdict = f"{row['mark']} **{row['verdict']}**{', alone' * ledger.alone(row)}"
    if row["verdict"] == NOT_TESTED:
        return f"{verdict}: {row['reason']}"
    parts = [f"{row['found']} {row['interval']}", f"n = {row['n_seeds']}"]
    if row["n_points"] > 1:
        parts.append(f"worst of {row['n_points']}")
    if row["n_left_out"]:
        parts.append(f"{row['n_left_out']} left out")
    if figure := row["figure"]:
        parts.append(f"[{figure}]({run.file(figure)})" if figure in shown else f"`{figure}`")
    if row["verdict"] == INCONCLUSIVE:
        parts.append(f"needs {seeds_needed(row)}")
    return f"{verdict}: {', '.join(parts)}"


def seeds_needed(row: dict) -> str:
    """Say with how many seeds the interval would reach the threshold, if mean and spread stay."""
    if row["n_seeds"] < LEAST_SEEDS:
        return f"at least {LEAST_SEEDS} seeds"
    half = (row["ci_high"] - row["ci_low"]) / 2
    away = min(abs(row["effect"] - row[end]) for end in ("threshold", "threshold_below"))
    if half**2 * row["n_seeds"] >= away**2 * MOST_SEEDS:
        return f"more than {MOST_SEEDS:,} seeds"
    return f"about {math.ceil(row['n_seeds'] * (half / away) ** 2)} seeds"


def _about(name: str) -> str:
    """Say what a claim measures, and which effect supports it."""
    claim = CLAIMS[name]
    low, high = claim.threshold.above, claim.threshold.below
    wanted = f"> {low:.3g}" if high == math.inf else f"in {low:.3g} to {high:.3g}"
    return f"{claim.measures}; {wanted}"


def sentence(runs: list[Run], name: str, shown: set[str]) -> str:
    """Return a claim and the verdict of each run."""
    verdicts = "".join(f"\n  * {run.name}: {found(run, name, shown)}" for run in runs)
    check = CLAIMS[name].check and f"; **a check**: {CLAIMS[name].check}"
    return f"{CLAIMS[name].statement} *({_about(name)}{check})*{verdicts}"


def section_of(name: str, runs: list[Run]) -> str:
    """Return the block that a claim belongs to: it must hold in every run that tests it."""
    if CLAIMS[name].check:
        return "checks"
    if CLAIMS[name].paper.startswith("ours"):
        return "new"
    verdicts = {run.claims[name]["verdict"] for run in runs} - {NOT_TESTED}
    if CONTRADICTED in verdicts:
        return "fails"
    return "holds" if verdicts == {SUPPORTED} else "open"


def claims_table(names: list[str], runs: list[Run], shown: set[str]) -> str:
    """Return a row for each claim and a column for each run."""
    rows = []
    for name in names:
        claim = CLAIMS[name]
        why = claim.check and f"Why it is a check: {claim.check}."
        notes = f"`{name}` *{claim.paper}; {_about(name)}*"
        about = " <br> ".join(filter(None, [claim.statement, notes, why, claim.remark]))
        rows.append([about, *(found(run, name, shown) for run in runs)])
    return _table(("claim", *(run.name for run in runs)), rows) if rows else "None."


def points_table(run: Run, name: str) -> str:
    """Return the mean and 95 % interval of what was measured, at the grid points of a claim."""
    claim, chosen = CLAIMS[name], select(CLAIMS[name], run.sweeps)
    if chosen.reason:
        return f"{run.name}: not tested ({chosen.reason})."
    points = run.points.filter(pl.col("run").is_in(list(chosen.points)))
    order = [*claim.may_vary, *claim.varies]  # what the claim compares differs from row to row
    varied = [setting for setting in order if points[setting].n_unique() > 1]
    rows = []
    for point in points.sort(varied).to_dicts():
        n = point["seeds"]
        cells = [f"{point[m]:.3g} ± {t_half_width(point[f'{m}_sd'], n):.2g}" for m in MEASURES]
        rows.append([", ".join(in_words(s, point[s]) for s in varied), *cells, str(n)])
    return _table((run.name, *MEASURES.values(), "n"), rows)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def remedies_table(root: Path, run: Run) -> str:
    """Rank the remedies of the bench by what they make a model say.

    Each number is a mean over positions and seeds; gains are paired differences to no remedy, per
    seed, with their 95 % intervals.
    """
    sweep = run.sweeps[run.config.drawings()["mitigation_bench"].sweep]
    runs = Runs(root / "results", run.config.stale)
    table = bench(read_tables(sweep.points, "metrics", runs, sweep.labels))
    gains = {f"{name} gain": pl.col(name) - pl.col(f"none_{name}") for name in ("said", "wrong")}
    steps = {name: batch_steps(settings) for name, settings in sweep.points.items()}
    place = pl.col("pos_encoding").map_elements(partial(in_words, "pos_encoding"), pl.String)
    table = table.with_columns(
        arm=pl.col("label").str.strip_suffix(pl.lit(", ") + place),
        sentences=pl.col("sentences") / pl.col("none_sentences"),
        steps=pl.col("run").replace_strict(steps, return_dtype=pl.Float64),
        **gains,
    )
    numbers = pl.col("train_accuracy", *ARMS, *gains, "sentences", "steps")
    seeds = table.group_by("arm", "kind", "seed").agg(numbers.mean())
    spreads = pl.col(*gains).std().name.suffix(" sd")
    means = seeds.group_by("arm", "kind").agg(numbers.mean(), spreads, n=pl.len())
    encodings = sorted(table["pos_encoding"].unique())
    said = table.pivot("pos_encoding", index="arm", values="said", aggregate_function="mean")
    rows = []
    for row in means.join(said, on="arm").sort("said gain", "arm", descending=True).to_dicts():
        half = {gain: t_half_width(row[f"{gain} sd"], row["n"]) for gain in gains}
        gained = [f"{row[gain]:.2f} ± {half[gain]:.2f}" for gain in gains]
        by_place = " / ".join(_number(row[encoding]) for encoding in encodings)
        others = [f"{row[name]:.2f}" for name in ("known", "echo", "forward", "train_accuracy")]
        cells = [row["arm"], row["kind"], gained[0], by_place, *others, gained[1]]
        rows.append([*cells, f"{row['sentences']:.1f}", f"{row['steps']:,.0f}"])
    places = " / ".join(in_words("pos_encoding", encoding) for encoding in encodings)
    header = ("remedy", "kind", "gain in said", f"said: {places}", "known", "echo", "forward")
    return _table((*header, "trained", "gain in wrong inverses", "sentences", "steps"), rows)


def remedies(root: Path, runs: list[Run]) -> dict[str, str]:
    """Return the blocks on remedies, from the run of `BENCH`; they say so if it is not there."""
    if not runs:
        missing = f"Not run: `{BENCH['bench']}`."
        return dict.fromkeys(("remedies_run", "remedies", "remedies_claims"), missing)
    return {
        "remedies_run": what_was_run(runs, BENCH),
        "remedies": remedies_table(root, runs[0]),
        "remedies_claims": claims_table(list(REMEDIES), runs, set()),
    }


def picture(runs: list[Run], name: str) -> str:
    """Return a figure of every run that draws it, and its caption."""
    drawn = [(run, run.config.drawings().get(name)) for run in runs]
    shown = [(run, figure) for run, figure in drawn if figure]
    images = [f"![{figure.title}, {run.name} run]({run.file(name)})" for run, figure in shown]
    caption = PLOTS[shown[0][1].plot].caption()
    of = ", then ".join(run.name for run, _ in shown)
    return "\n\n".join([*images, f"*`{name}` ({of} run). {caption}*"])


def write_page(root: Path) -> Path:
    """Fill the template below `root` and copy its pictures; returns the page.

    Raises UserError if a table is missing, or if a placeholder names nothing.
    """
    runs, benches = read_runs(root, CONFIGS), read_runs(root, BENCH)
    template = (root / TEMPLATE).read_text(encoding="utf-8")
    shown = set(re.findall(r"\{figure\[(\w+)\]", template))
    sections = {block: [] for block in ("holds", "fails", "new", "open", "checks")}
    for name in (name for name in CLAIMS if name not in REMEDIES):
        sections[section_of(name, runs)].append(name)
    tabulated = CLAIMS.keys() & re.findall(r"\{points\[(\w+)\]", template)
    every = [*runs, *benches]
    drawn = shown & {name for run in every for name in run.config.drawings()}
    values = {
        **{name: sentence(runs, name, shown) for name in CLAIMS},
        **{block: claims_table(names, runs, shown) for block, names in sections.items()},
        "papers": "\n".join(f"* {key}: {paper}." for key, paper in PAPERS.items()),
        "runs": what_was_run(runs, CONFIGS),
        **remedies(root, benches),
        "counts": counts(runs),
        "points": {n: "\n\n".join(points_table(run, n) for run in runs) for n in tabulated},
        "figure": {name: picture(every, name) for name in drawn},
    }
    try:
        text = template.format_map(values)
    except KeyError as error:
        raise UserError(f"{TEMPLATE}: {error} must be a claim, figure or block") from None
    for run in every:
        for name in shown & run.config.drawings().keys():
            shutil.copyfile(run.folder / f"figures/{name}.png", root / "docs" / run.file(name))
    (root / PAGE).write_text(text, encoding="utf-8")
    return root / PAGE


if __name__ == "__main__":
    try:
        print(write_page(Path(__file__).parent.parent))
    except (UserError, OSError) as error:
        sys.exit(str(error))
