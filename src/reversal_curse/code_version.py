"""Versions by content of the code that draws figures and judges claims.

Snakemake compares them as parameters: a changed figure is rendered again, without
training, and a checkout that only touches file times renders nothing.
"""

from __future__ import annotations

from pathlib import Path

from reversal_curse.provenance import digest
from reversal_curse.registry import ALL_FIGURES, PRETRAINED_FIGURES

PACKAGE = Path(__file__).parent
PRETRAINED_ANALYSIS = PACKAGE / "pretrained/analysis.py"


def figure_version(figure: str) -> str:
    """A digest of the figure's own module, the modules that figures share, and its entry."""
    modules = {spec.module for spec in ALL_FIGURES.values()}
    folder = PACKAGE / "figures"
    shared = sorted(path for path in folder.glob("*.py") if path.stem not in modules)
    own = [folder / f"{ALL_FIGURES[figure].module}.py"]
    if figure in PRETRAINED_FIGURES:
        own.append(PRETRAINED_ANALYSIS)
    labels = PACKAGE / "registry/maskings.py"
    return f"{digest([PACKAGE / 'analysis.py', labels, *shared, *own])} {ALL_FIGURES[figure]}"


def claims_version() -> str:
    """A digest of all claims and of what they read tables with."""
    read = [PACKAGE / "analysis.py", PRETRAINED_ANALYSIS]
    return digest([*read, *sorted((PACKAGE / "claims").glob("*.py"))])
