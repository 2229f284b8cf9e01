"""Draw plots in the house style, and write figures to files."""

from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from reversal_curse.config.errors import UserError, suggestion
from reversal_curse.config.file import Config, Style
from reversal_curse.config.grid import pretrained_file, read_sweeps
from reversal_curse.config.plots import PLOTS
from reversal_curse.figures import style
from reversal_curse.figures.numbers import drawn_numbers
from reversal_curse.tables.atomic_write import replacing
from reversal_curse.tables.files import read_runs, read_table
from reversal_curse.tables.run_files import Runs

# Without dates, the same numbers give the same file.
_METADATA: dict[str, dict[str, Any]] = {
    ".pdf": {"CreationDate": None, "ModDate": None},
    ".png": {"Software": None},
    ".svg": {"Date": None},
    ".csv": {},
}
DEFAULT = Style()


def draw(plot: str, tables: dict[str, pl.DataFrame], look: Style = DEFAULT) -> Figure:
    """Draw a plot; raises UserError if a table is empty."""
    for table, frame in tables.items():
        if frame.is_empty() and not PLOTS[plot].may_be_empty:
            raise UserError(f"plot {plot}: its table {table} has no rows")
    with style.styled(look):
        figure = PLOTS[plot].load()(tables)
    style.recolour(figure, look.palette)
    return figure


def draw_figure(config: Config, name: str, runs: Runs) -> Figure:
    """Draw a figure of a config; raises UserError if it, or a table that it needs, is missing."""
    figures = config.drawings()
    if name not in figures:
        close, known = suggestion(name, figures), ", ".join(figures) or "none"
        raise UserError(f"no figure {name} in this config{close}; it has {known}")
    drawn, plot = figures[name], PLOTS[figures[name].plot]
    look = config.style_of(drawn)
    if plot.pretrained:
        files = {table: pretrained_file(config, runs.results, table) for table in plot.tables}
        tables = {table: read_table(path, table) for table, path in files.items()}
        return draw(drawn.plot, tables, look)
    sweep = read_sweeps(config)[drawn.sweep]
    tables = {t: read_runs(sweep.points, t, runs, sweep.labels) for t in plot.tables}
    figure = draw(drawn.plot, tables, look)
    by_other_code = runs.by_other_code(sweep.points)
    if by_other_code:
        said = "\n".join(filter(None, [figure.get_supxlabel(), by_other_code]))
        with style.styled(look):
            style.write_note(figure, said)
    return figure


def save(figure: Figure, outputs: list[Path], look: Style = DEFAULT) -> None:
    """Write PDF, PNG, SVG or CSV files; raises UserError if a suffix is unknown."""
    for output in outputs:
        if output.suffix not in _METADATA:
            raise UserError(f"{output}: unknown suffix; allowed: {', '.join(_METADATA)}")
    with style.styled(look):  # the layout takes longer than the drawing: once for all files
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    for output in outputs:
        with replacing(output) as partial, style.styled(look):
            if output.suffix == ".csv":
                drawn_numbers(figure).write_csv(partial)
            else:
                figure.savefig(partial, metadata=_METADATA[output.suffix])
