"""The figures: what each shows, and which sweeps it can show."""

from __future__ import annotations

from dataclasses import dataclass
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
    task: str | None = None
    """The only task that its sweep may have, or None for any."""
    varies: tuple[str, ...] | None = None
    """The only axes that its sweep may vary, or None for any."""

    def load(self) -> ModuleType:
        return import_module(f"reversal_curse.figures.{self.module}")


FIGURES = {
    "reversal_curve": FigureSpec("The reversal curse during training", "reversal", task="reversal"),
    "reversal_logits": FigureSpec(
        "Logits of the answers, seen and unseen",
        "reversal",
        tables=("logits",),
        module="logit_maps",
        max_points=6,
        task="reversal",
    ),
    "reversal_vocab": FigureSpec(
        "Vocabulary size", "reversal", task="reversal", varies=("vocab_size",)
    ),
    "reversal_layers": FigureSpec(
        "Number of layers", "reversal", task="reversal", varies=("layers",)
    ),
    "reversal_depth_width": FigureSpec(
        "Shallow and narrow models",
        "reversal",
        task="reversal",
        varies=("layers", "heads", "embed_dim"),
    ),
    "reversal_positional": FigureSpec(
        "Positional encoding", "reversal", task="reversal", varies=("pos_encoding", "variant")
    ),
    "reversal_entity_length": FigureSpec(
        "Entities of several tokens",
        "reversal",
        module="nll_curves_with_words",
        task="reversal",
        varies=("entity_length",),
    ),
    "reversal_frozen": FigureSpec(
        "Frozen embeddings", "reversal", task="reversal", varies=("variant",)
    ),
    "reversal_weight_decay": FigureSpec(
        "Weight decay", "reversal", task="reversal", varies=("variant",)
    ),
    "embedding_cosine": FigureSpec(
        "Cosine similarity of embeddings",
        "reversal",
        tables=("embeddings",),
        module="embedding_cosine",
        max_points=24,
    ),
    "chain_curve": FigureSpec("Chain of thought during training", "chain", task="chain"),
    "chain_logits": FigureSpec(
        "Logits along the chain",
        "chain",
        tables=("logits",),
        module="logit_maps",
        max_points=6,
        task="chain",
    ),
    "chain_vocab": FigureSpec(
        "Chain: vocabulary size", "chain", task="chain", varies=("vocab_size",)
    ),
    "chain_layers": FigureSpec(
        "Chain: number of layers", "chain", task="chain", varies=("layers",)
    ),
    "chain_positional": FigureSpec(
        "Chain: positional encoding", "chain", task="chain", varies=("pos_encoding",)
    ),
    "chain_entity_length": FigureSpec(
        "Chain: entities of several tokens",
        "chain",
        module="nll_curves_with_words",
        task="chain",
        varies=("entity_length",),
    ),
    "chain_frozen": FigureSpec(
        "Chain: frozen embeddings", "chain", task="chain", varies=("variant",)
    ),
    "chain_related": FigureSpec(
        "Chain: entities that share a token",
        "chain",
        module="nll_curves_with_words",
        task="chain_related",
        varies=("train_facts",),
    ),
    "in_context_curve": FigureSpec("Reversal in context", "in context", task="in_context"),
    "diffusion_vs_autoregressive": FigureSpec(
        "Masked diffusion against autoregression",
        "masked diffusion",
        module="diffusion_vs_autoregressive",
        task="facts",
        varies=("family", "pos_encoding"),
    ),
    "diffusion_masking": FigureSpec(
        "Which tokens are ever masked",
        "masked diffusion",
        module="diffusion_masking",
        task="facts",
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
    ),
    "one_layer_weights": FigureSpec(
        "Effective weights: asymmetric, intransitive",
        "theory",
        tables=("weights",),
        module="one_layer_weights",
        max_points=6,
        varies=("task", "family", "embed_dim"),
    ),
    "attention_correlation": FigureSpec(
        "Forward and reverse attention scores",
        "masked diffusion",
        tables=("attention",),
        module="attention_correlation",
        task="facts",
        varies=("distance", "heads", "pos_encoding", "masking"),
    ),
    "gradient_alignment": FigureSpec(
        "Forward and reverse gradients",
        "masked diffusion",
        tables=("gradients",),
        module="gradient_alignment",
        task="facts",
        varies=("family", "pos_encoding"),
    ),
    "sweep_overview": FigureSpec(
        "The reversal gap over the grid", "overview", module="sweep_overview", max_points=1000
    ),
}
