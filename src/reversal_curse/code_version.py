"""Versions by content of the code that draws figures and judges claims.

Snakemake compares them as parameters: a changed figure is rendered again, without
training, and a checkout that only touches file times renders nothing.
"""

from __future__ import annotations

from pathlib import Path

from reversal_curse.provenance import digest
from reversal_curse.registry import FIGURES

PACKAGE = Path(__file__).parent


def figure_version(figure: str) -> str:
    """A digest of the figure's own module, the modules that figures share, and its entry."""
    modules = {spec.module for spec in FIGURES.values()}
    folder = PACKAGE / "figures"
    shared = sorted(path for path in folder.glob("*.py") if path.stem not in modules)
    own = folder / f"{FIGURES[figure].module}.py"
    labels = PACKAGE / "registry/maskings.py"
    return f"{digest([PACKAGE / 'analysis.py', labels, *shared, own])} {FIGURES[figure]}"


def claims_version() -> str:
    """A digest of all claims and of what they read tables with."""
    return digest([PACKAGE / "analysis.py", *sorted((PACKAGE / "claims").glob("*.py"))])
