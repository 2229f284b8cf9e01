"""The figures. To add one, write a module with `draw(tables)` and register it here.

`draw` takes the figure's tables, by name, and returns a matplotlib Figure. Importing
this package imports neither matplotlib nor torch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FigureSpec:
    """What a figure shows and which run tables of its sweep it reads."""

    title: str
    group: str
    tables: tuple[str, ...] = ("metrics",)


FIGURES = {
    "reversal_curve": FigureSpec("The reversal curse during training", "reversal"),
    "reversal_logits": FigureSpec(
        "Logits of the answers, seen and unseen", "reversal", ("logits",)
    ),
    "reversal_vocab": FigureSpec("Vocabulary size", "reversal"),
    "reversal_layers": FigureSpec("Number of layers", "reversal"),
    "reversal_depth_width": FigureSpec("Shallow and narrow models", "reversal"),
    "reversal_positional": FigureSpec("Positional encoding", "reversal"),
    "reversal_entity_length": FigureSpec("Entities of several tokens", "reversal"),
    "reversal_frozen": FigureSpec("Frozen embeddings", "reversal"),
    "embedding_cosine": FigureSpec("Cosine similarity of embeddings", "reversal", ("embeddings",)),
    "bilinear_separation": FigureSpec("Bilinear model: separation", "theory", ("separation",)),
    "sweep_overview": FigureSpec("The reversal gap over the grid", "overview"),
}


def code_version(figure: str) -> str:
    """A digest of the code that draws a figure: its own module and the shared ones.

    Snakemake compares it as a parameter, so a changed figure is rendered again, without
    training, and a checkout that only touches file times renders nothing.
    """
    folder = Path(__file__).parent
    shared = sorted(path for path in folder.glob("*.py") if path.stem not in FIGURES)
    digest = hashlib.sha256()
    for path in [*shared, folder / f"{figure}.py"]:
        if path.stem != "__init__":
            digest.update(path.read_bytes())
    digest.update(repr(FIGURES[figure]).encode())
    return digest.hexdigest()[:12]
