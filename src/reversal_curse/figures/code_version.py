"""A digest of the code that draws a figure, for Snakemake to compare."""

from __future__ import annotations

import hashlib
from pathlib import Path

from reversal_curse.registry import FIGURES


def code_version(figure: str) -> str:
    """A digest of the code that draws a figure: its own module and the shared ones.

    Snakemake compares it as a parameter, so a changed figure is rendered again, without
    training, and a checkout that only touches file times renders nothing.
    """
    folder = Path(__file__).parent
    modules = {spec.module for spec in FIGURES.values()}
    shared = sorted(path for path in folder.glob("*.py") if path.stem not in modules)
    digest = hashlib.sha256()
    for path in [*shared, folder / f"{FIGURES[figure].module}.py"]:
        digest.update(path.read_bytes())
    digest.update(repr(FIGURES[figure]).encode())
    return digest.hexdigest()[:12]
