"""Versions of figures and claims, by their code; those of data and training: `provenance.py`.

Snakemake compares these as parameters: a changed plot is rendered again, without training, and a
checkout that only touches file times renders nothing.
"""

from functools import cache
from pathlib import Path

from reversal_curse.config.digest import digest_of
from reversal_curse.config.plots import PLOTS

PACKAGE = Path(__file__).parent.parent
_READ = (
    *("tables/files.py", "tables/schemas.py"),
    *("tables/summaries.py", "tables/pretrained_summaries.py"),
)
_NAMED = ("config/settings.py", "config/grid.py", "families.py", "tasks/masking_arms.py")


@cache
def plot_version(name: str) -> str:
    """Return a digest of the plot's module and of the code for all plots, names and tables."""
    plot = PLOTS[name]
    modules = {other.path for other in PLOTS.values()}
    shared = sorted(set((PACKAGE / "figures").glob("*.py")) - modules)
    files = [PACKAGE / file for file in (*_READ, *_NAMED)]
    return digest_of([path.read_text("utf-8") for path in (*files, *shared, plot.path)])


@cache
def claims_version() -> str:
    """Return a digest of all claims and of the code that reads their tables."""
    files = [PACKAGE / file for file in (*_READ, "config/grid.py")]
    files += sorted((PACKAGE / "claims").glob("*.py"))
    return digest_of([path.read_text("utf-8") for path in files])
