"""The plots: functions from tables to a matplotlib Figure, for any sweep that has what they need.

A new plot is a module in `reversal_curse/figures/` and an entry here.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType


@dataclass(frozen=True)
class Plot:
    """What a plot reads, and which sweeps it can draw.

    `draw(tables)` of its module in `reversal_curse.figures` maps the tables to a Figure; the first
    paragraph of its docstring is the caption.
    """

    module: str
    tables: tuple[str, ...] = ("metrics",)
    """Tables that it reads."""
    draw: str = "draw"
    """The function in the module."""
    max_points: int = 48
    """Grid points that it has room for."""
    only: Mapping[str, tuple] = field(default_factory=dict)
    """By setting, the only values that it can draw."""
    varies: tuple[str, ...] | None = None
    """The only settings that it can tell apart, or None for any."""
    has: tuple[str, ...] = ()
    """Settings that must mean something to every grid point."""
    may_be_empty: bool = False
    """Whether it draws a table without rows, to say why there are none."""

    @property
    def pretrained(self) -> bool:
        """Whether it draws the config's pretrained models in place of a sweep."""
        return self.tables[0].startswith("pretrained_")

    def load(self) -> ModuleType:
        return import_module(f"reversal_curse.figures.{self.module}")

    @property
    def path(self) -> Path:
        """The file of its module, which is not imported."""
        return Path(__file__).parent.parent / f"figures/{self.module}.py"

    def caption(self) -> str:
        """What it shows: the docstring of its function, read without importing matplotlib."""
        tree = ast.parse(self.path.read_text(encoding="utf-8"))
        (function,) = (
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name == self.draw
        )
        return " ".join(ast.get_docstring(function).split())  # ty: ignore[missing-union-attribute]


PLOTS = {
    "curves": Plot("curves"),
    "word_curves": Plot("curves", draw="draw_with_words"),
    "final": Plot("final"),
    "masking": Plot("masking", has=("masking",)),
    "overview": Plot("overview", max_points=1000),
    "logits": Plot("logits", tables=("logits",), max_points=6),
    "embeddings": Plot("embeddings", tables=("embeddings",), max_points=24),
    "separation": Plot("separation", tables=("separation",), varies=("embed_dim",)),
    "bounds": Plot(
        "bounds",
        tables=("sentence_nll",),
        varies=("task", "vocab_size"),
        only={"entity_length": (1, None)},
    ),
    "weights": Plot(
        "weights", tables=("weights",), max_points=6, only={"entity_length": (1, None)}
    ),
    "attention": Plot(
        "attention",
        tables=("attention",),
        varies=("distance", "heads", "embed_dim", "pos_encoding", "masking"),
    ),
    "gradients": Plot("gradients", tables=("gradients",), varies=("family", "pos_encoding")),
    "pretrained_reversal": Plot("pretrained_reversal", tables=("pretrained_answers",)),
    "pretrained_attention": Plot(
        "pretrained_attention", tables=("pretrained_scores",), may_be_empty=True
    ),
    "pretrained_gradients": Plot("pretrained_gradients", tables=("pretrained_gradients",)),
}
