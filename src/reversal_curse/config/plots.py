"""The plots, from tables to a Figure. To add one, write it in `figures/` and list it here."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path


@dataclass(frozen=True)
class Plot:
    """What a plot reads, and which sweeps it can draw.

    The function `draw` of its module in `reversal_curse.figures` maps the tables to a Figure; the
    docstring of the function is the caption.
    """

    module: str
    tables: tuple[str, ...] = ("metrics",)
    draw: str = "draw"
    """The function in the module."""
    max_points: int = 48
    """How many grid points it has room for."""
    only: Mapping[str, tuple] = field(default_factory=dict)
    """The only values that it can draw, by setting."""
    varies: tuple[str, ...] | None = None
    """The only settings that it can tell apart, or None for any."""
    has: tuple[str, ...] = ()
    """Settings that every grid point must have."""
    may_be_empty: bool = False
    """Whether it draws a table without rows, to say why there are none."""

    @property
    def pretrained(self) -> bool:
        """Whether it draws the config's pretrained models instead of a sweep."""
        return self.tables[0].startswith("pretrained_")

    def load(self) -> Callable:
        """Import its module (and matplotlib), and return its function."""
        return getattr(import_module(f"reversal_curse.figures.{self.module}"), self.draw)

    def caption(self) -> str:
        """Read the docstring of its function, without importing matplotlib."""
        path = Path(__file__).parent.parent / f"figures/{self.module}.py"
        body = ast.parse(path.read_text(encoding="utf-8")).body
        functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
        docstring = ast.get_docstring(functions[self.draw])
        return " ".join(docstring.split())  # ty: ignore[missing-union-attribute]


_SINGLE = {"entity_length": (1, None)}  # entities of one token
PLOTS = {
    "curves": Plot("curves"),
    "word_curves": Plot("curves", draw="draw_with_words"),
    "parts": Plot("curves", draw="draw_parts"),
    "final": Plot("final"),
    "masking": Plot("final", draw="draw_masking", has=("masking",)),
    "decay": Plot(
        "decay", has=("weight_decay",), varies=("weight_decay", "learning_rate", "epochs")
    ),
    "mitigation_bench": Plot("remedies", max_points=400),
    "bridge_positions": Plot("final", draw="draw_bridge", has=("pos_encoding",)),
    "optimizer_asymmetry": Plot(
        "asymmetry", ("asymmetry",), max_points=8, only={"task": ("reversal",)}
    ),
    "overview": Plot("overview", max_points=1000),
    "logits": Plot("logits", ("logits",), max_points=6),
    "embeddings": Plot("embeddings", ("embeddings",), max_points=24),
    "separation": Plot("separation", ("separation",), varies=("embed_dim",)),
    "bounds": Plot(
        "one_layer", ("sentence_nll",), "draw_bounds", varies=("task", "vocab_size"), only=_SINGLE
    ),
    "chain_of_thought": Plot("chain_of_thought", ("chain_of_thought",)),
    "weights": Plot("one_layer", ("weights",), "draw_weights", max_points=6, only=_SINGLE),
    "attention": Plot(
        "attention",
        ("attention",),
        varies=("distance", "heads", "embed_dim", "pos_encoding", "masking"),
    ),
    "storage": Plot("storage", ("attention", "metrics"), max_points=16),
    "gradients": Plot("gradients", ("gradients",), varies=("family", "pos_encoding")),
    "pretrained_reversal": Plot("pretrained", ("pretrained_answers",), "draw_reversal"),
    "pretrained_attention": Plot(
        "pretrained", ("pretrained_scores",), "draw_attention", may_be_empty=True
    ),
    "pretrained_gradients": Plot("pretrained", ("pretrained_gradients",), "draw_gradients"),
}
