"""The figures: what each shows, and which sweeps it can show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType


@dataclass(frozen=True)
class FigureSpec:
    """What a figure shows, and which sweeps it can show."""

    title: str
    group: str
    tables: tuple[str, ...] = ("metrics",)
    """Run tables of its sweep that it reads."""
    module: str = "nll_curves"
    """The module of `reversal_curse.figures` that draws it."""
    max_points: int = 48
    """Grid points that it has room for."""
    only: Mapping[str, tuple] = field(default_factory=dict)
    """By axis, the only values that its sweep may have."""
    varies: tuple[str, ...] | None = None
    """The only axes that its sweep may vary, or None for any."""
    may_be_empty: bool = False
    """Whether it draws a table without rows, to say why there are none."""

    def load(self) -> ModuleType:
        return import_module(f"reversal_curse.figures.{self.module}")


FIGURES = {
    "reversal_curve": FigureSpec(
        "The reversal curse during training", "reversal", only={"task": ("reversal",)}
    ),
    "reversal_logits": FigureSpec(
        "Logits of the answers, seen and unseen",
        "reversal",
        tables=("logits",),
        module="logit_maps",
        max_points=6,
        only={"task": ("reversal",)},
    ),
    "reversal_vocab": FigureSpec(
        "Vocabulary size", "reversal", only={"task": ("reversal",)}, varies=("vocab_size",)
    ),
    "reversal_layers": FigureSpec(
        "Number of layers", "reversal", only={"task": ("reversal",)}, varies=("layers",)
    ),
    "reversal_depth_width": FigureSpec(
        "Shallow and narrow models",
        "reversal",
        only={"task": ("reversal",)},
        varies=("layers", "heads", "embed_dim"),
    ),
    "reversal_positional": FigureSpec(
        "Positional encoding",
        "reversal",
        only={"task": ("reversal",)},
        varies=("pos_encoding", "variant"),
    ),
    "reversal_entity_length": FigureSpec(
        "Entities of several tokens",
        "reversal",
        module="nll_curves_with_words",
        only={"task": ("reversal",)},
        varies=("entity_length",),
    ),
    "reversal_frozen": FigureSpec(
        "Frozen embeddings", "reversal", only={"task": ("reversal",)}, varies=("variant",)
    ),
    "reversal_weight_decay": FigureSpec(
        "Weight decay", "reversal", only={"task": ("reversal",)}, varies=("variant",)
    ),
    "embedding_cosine": FigureSpec(
        "Cosine similarity of embeddings",
        "reversal",
        tables=("embeddings",),
        module="embedding_cosine",
        max_points=24,
    ),
    "chain_curve": FigureSpec(
        "Chain of thought during training", "chain", only={"task": ("chain",)}
    ),
    "chain_logits": FigureSpec(
        "Logits along the chain",
        "chain",
        tables=("logits",),
        module="logit_maps",
        max_points=6,
        only={"task": ("chain",)},
    ),
    "chain_vocab": FigureSpec(
        "Chain: vocabulary size", "chain", only={"task": ("chain",)}, varies=("vocab_size",)
    ),
    "chain_layers": FigureSpec(
        "Chain: number of layers", "chain", only={"task": ("chain",)}, varies=("layers",)
    ),
    "chain_positional": FigureSpec(
        "Chain: positional encoding", "chain", only={"task": ("chain",)}, varies=("pos_encoding",)
    ),
    "chain_entity_length": FigureSpec(
        "Chain: entities of several tokens",
        "chain",
        module="nll_curves_with_words",
        only={"task": ("chain",)},
        varies=("entity_length",),
    ),
    "chain_frozen": FigureSpec(
        "Chain: frozen embeddings", "chain", only={"task": ("chain",)}, varies=("variant",)
    ),
    "chain_related": FigureSpec(
        "Chain: entities that share a token",
        "chain",
        module="nll_curves_with_words",
        only={"task": ("chain_related",)},
        varies=("train_facts",),
    ),
    "in_context_curve": FigureSpec(
        "Reversal in context", "in context", only={"task": ("in_context",)}
    ),
    "diffusion_vs_autoregressive": FigureSpec(
        "Masked diffusion against autoregression",
        "masked diffusion",
        module="diffusion_vs_autoregressive",
        only={"task": ("facts",)},
        varies=("family", "pos_encoding"),
    ),
    "diffusion_masking": FigureSpec(
        "Which tokens are ever masked",
        "masked diffusion",
        module="diffusion_masking",
        only={"task": ("facts",), "family": ("masked_diffusion",)},
        varies=("masking", "pos_encoding", "distance"),
    ),
    "bilinear_separation": FigureSpec(
        "Bilinear model: separation",
        "theory",
        tables=("separation",),
        module="bilinear_separation",
        varies=("embed_dim",),
    ),
    "one_layer_bounds": FigureSpec(
        "One-layer transformer: bounds over time",
        "theory",
        tables=("sentence_nll",),
        module="one_layer_bounds",
        varies=("task", "vocab_size"),
        only={"task": ("reversal", "chain"), "entity_length": (1,)},
    ),
    "one_layer_weights": FigureSpec(
        "Effective weights: asymmetric, intransitive",
        "theory",
        tables=("weights",),
        module="one_layer_weights",
        max_points=6,
        varies=("task", "family", "embed_dim"),
        only={"task": ("reversal", "chain"), "entity_length": (1,)},
    ),
    "attention_correlation": FigureSpec(
        "Forward and reverse attention scores",
        "masked diffusion",
        tables=("attention",),
        module="attention_correlation",
        only={"task": ("facts",), "family": ("masked_diffusion",)},
        varies=("distance", "heads", "pos_encoding", "masking"),
    ),
    "gradient_alignment": FigureSpec(
        "Forward and reverse gradients",
        "masked diffusion",
        tables=("gradients",),
        module="gradient_alignment",
        only={"task": ("facts",)},
        varies=("family", "pos_encoding"),
    ),
    "sweep_overview": FigureSpec(
        "The reversal gap over the grid", "overview", module="sweep_overview", max_points=1000
    ),
}

PRETRAINED_FIGURES = {
    "pretrained_reversal": FigureSpec(
        "Pretrained models: forward and reverse questions",
        "pretrained models",
        tables=("answers",),
        module="pretrained_reversal",
    ),
    "pretrained_attention": FigureSpec(
        "Pretrained models: forward and reverse attention scores",
        "pretrained models",
        tables=("scores",),
        module="pretrained_attention",
        may_be_empty=True,
    ),
    "pretrained_gradients": FigureSpec(
        "Pretrained models: forward and reverse gradients",
        "pretrained models",
        tables=("gradients",),
        module="pretrained_gradients",
    ),
}
"""Figures of the config's `pretrained` models, in place of a sweep: they are drawn wherever it has
some."""
ALL_FIGURES = FIGURES | PRETRAINED_FIGURES
