"""Gather what a config made into one HTML file, and its ledger into a small one for reports."""

import base64
import gzip
import html
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
import vl_convert
import yaml
from markupsafe import Markup

from reversal_curse.claims.ledger import PAPERS, VERDICTS, counts, described, unsettled
from reversal_curse.config.file import Config, Style
from reversal_curse.config.grid import Sweep, all_points, read_sweeps
from reversal_curse.config.plots import PLOTS
from reversal_curse.config.settings import in_words
from reversal_curse.figures import claims_overview, grouping, style
from reversal_curse.figures.render import save
from reversal_curse.page import TEMPLATE
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.files import read_table
from reversal_curse.tables.run_files import Runs
from reversal_curse.tables.schemas import MEASURED
from reversal_curse.tables.summaries import SHOWN

CURVES = [c for c in MEASURED if c.name != "candidates" and not c.name.startswith("chance")]
MOST_EPOCHS, MOST_ROWS = 60, 200_000  # of the curves; the rows bound the page of a large grid
SNIPPET = "window.vegaEmbed = vegaEmbed;"  # what the page calls of Vega
LEDGER = """{% extends page %}
{% block body %}
{{ self.ledger() }}
<script type="module">{{ self.filters() }}</script>
{% endblock %}
"""


def draw_overview(folder: Path, outputs: list[Path], look: Style) -> None:
    """Draw the ledger in a folder as a forest plot."""
    claims = described(read_table(folder / "claims.parquet", "claims"))
    with style.styled(look):
        figure = claims_overview.draw(claims)
    save(figure, outputs, look)


def write_page(config: Config, runs: Runs, origin: Iterable[str], *outputs: Path) -> None:
    """Write the page beside the tables and figures that it shows; then its ledger, for a report.

    `origin` says what is odd about the runs. Raises UserError if a run or a table is missing.
    """
    sweeps, folder = read_sweeps(config), outputs[0].parent
    rows = described(read_table(folder / "claims.parquet", "claims"))
    claims = [{name: _with_code(value) for name, value in row.items()} for row in rows]
    overview = (folder / "figures/claims_overview.svg").read_text(encoding="utf-8")
    points = read_table(folder / "points.parquet", "points")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    shown: dict[str, Any] = {"claims": claims, "papers": PAPERS, "verdicts": VERDICTS}
    shown |= {"name": config.name or "default", "colours": claims_overview.COLOURS}
    page = template.render(
        shown,
        run=_what_was_run(config, runs, sweeps),
        origin=list(origin),
        config=_as_yaml(config.given()),
        counts=counts(claims),
        unsettled=unsettled(claims),
        # matplotlib's links open a window of their own.
        overview=overview[overview.index("<svg") :].replace(' target="_blank"', ""),
        formats=sorted({*config.style.formats, "csv"} - {"svg"}),
        overview_caption=" ".join(str(claims_overview.draw.__doc__).split()),
        groups=_figures(config, sweeps, folder),
        quantities=CURVES,
        curves=_packed(_curves(folder / "metrics.parquet", points["run"].to_list())),
        explorer=_explorer(points, sweeps),
        points=_points(points),
        script=vl_convert.javascript_bundle(SNIPPET).replace("</script", "<\\/script"),
    )
    alone = environment.from_string(LEDGER).render(shown, page=template)
    for path, text in zip(outputs, (page, alone), strict=True):
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")


def _with_code(value: Any) -> Any:
    """Show what stands between backticks as code."""
    is_text = isinstance(value, str)
    return Markup(re.sub("`(.+?)`", r"<code>\1</code>", html.escape(value))) if is_text else value


def _packed(text: str) -> str:
    """Compress a text for the script of the page, which unpacks it."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def minimal_config(config: Config, sweeps: Mapping[str, Sweep], name: str) -> str:
    """Write the YAML that makes one figure: what it needs of the config."""
    drawn, content = config.drawings()[name], config.given()
    sweep = drawn.sweep or next(iter(sweeps))  # pretrained models need none, but a config does
    block = content["sweeps"][sweep]
    needed = {
        "families": {settings.family for settings in sweeps[sweep].points.values()},
        "presets": {one.get("preset") for one in (block, *block.get("points", []))},
        "sweeps": {sweep},
        "figures": {name},
    }
    for key, names in needed.items():
        content[key] = {n: block for n, block in content.get(key, {}).items() if n in names}
    if drawn.sweep:
        content["pretrained"] = []
    return _as_yaml({key: value for key, value in content.items() if value})


def _as_yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _what_was_run(config: Config, runs: Runs, sweeps: Mapping[str, Sweep]) -> dict[str, str]:
    """Say which config was run, by which code, on what and for how long."""
    records = [runs.trained(*point) for point in all_points(sweeps).items()]

    def listed(values: Iterable) -> str:
        return ", ".join(sorted({str(value) for value in values}))

    software = [record["versions"] for record in records]
    names = sorted(set().union(*software))
    versions = (f"{n} {listed(one.get(n, 'unknown') for one in software)}" for n in names)
    models = sum(record["settings"]["seeds"] for record in records)
    return {
        "config": config.digest,
        "trained": f"{models:,} models: {len(records):,} grid points of {len(sweeps)} sweeps",
        "on": listed(f"{record['started'][:10]}, {record['device_name']}" for record in records),
        "in": f"{sum(record['wall_seconds'] for record in records):,.0f} seconds of training",
        "by commit": listed(record["commit"] or "outside version control" for record in records),
        "versions": ", ".join(versions),
    }


def _figures(config: Config, sweeps: Mapping[str, Sweep], folder: Path) -> dict[str, list]:
    """Describe the figures of the config, by their headings."""
    groups: dict[str, list] = {}
    for name, figure in config.drawings().items():
        svg = (folder / f"figures/{name}.svg").read_text(encoding="utf-8")
        _, _, width, height = re.findall(r'viewBox="([^"]+)"', svg)[0].split()
        count = len(sweeps[figure.sweep].points) if figure.sweep else 0
        of = f"Sweep {figure.sweep}: {count} grid point{'s' * (count > 1)}." if count else ""
        shown = {
            "name": name,
            "title": figure.title,
            "caption": f"{PLOTS[figure.plot].caption()} {of}",
            "svg": _packed(svg),
            "width": width,
            "height": height,
            "yaml": minimal_config(config, sweeps, name),
        }
        groups.setdefault(figure.group, []).append(shown)
    return groups


def _curves(path: Path, runs: list[str]) -> str:
    """Write the curves of all seeds as CSV, at so many epochs as the page has room for."""
    metrics = pl.read_parquet(path).with_columns(
        run=pl.col("run").replace_strict(runs, range(len(runs)), return_dtype=pl.Int32)
    )
    curves = metrics.n_unique(["run", "seed", "split"])
    steps = max(1, min(MOST_EPOCHS, MOST_ROWS // curves) - 1)
    place = pl.col("epoch").rank("dense").cast(pl.Int64).over("run") - 1
    last = place.max().over("run").clip(1)
    kept = metrics.filter(place * steps // last != (place - 1) * steps // last)
    values = pl.col([column.name for column in CURVES]).round_sig_figs(4)
    return kept.select("run", "seed", "split", "epoch", values).write_csv()


def _explorer(points: pl.DataFrame, sweeps: Mapping[str, Sweep]) -> dict[str, Any]:
    """Describe the grid points to the script of the page: their settings in words."""
    varied = list(dict.fromkeys(name for sweep in sweeps.values() for name in sweep.varied))
    number = {run: index for index, run in enumerate(points["run"])}
    rows = points.select(varied).to_dicts()
    shown = {}
    for name, sweep in sweeps.items():
        labels = {number[run]: sweep.labels[run] for run in sweep.points}
        shown[name] = {"points": labels, "varied": sweep.varied}
    return {
        "points": [{name: in_words(name, value) for name, value in row.items()} for row in rows],
        "order": {n: [in_words(n, v) for v in grouping.values_of(points, n)] for n in varied},
        "sweeps": shown,
    }


def _points(points: pl.DataFrame) -> list[list[Any]]:
    """Tabulate the grid points: a header, and the last values beside the settings that vary."""
    varied = grouping.varying_settings(points)
    rows = []
    for point in points.to_dicts():
        found = [_mean_and_spread(point[name], point[f"{name}_sd"]) for name in SHOWN]
        rows.append([*found, f"{point['seconds']:.1f}", *(point[name] for name in varied)])
    return [[*SHOWN.values(), "seconds", *varied], *rows]


def _mean_and_spread(mean: float | None, sd: float | None) -> str | None:
    """Write a mean and its standard deviation, if there are any."""
    return None if mean is None else f"{mean:.3g}" + (f" ± {sd:.2g}" if sd is not None else "")
