"""What there is: tasks, families and figures, by the names that configs use.

Adding one is one new module and one entry here. Nothing is imported until it is asked
for, so that reading a config loads neither torch nor matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Task:
    """How a task is found, and what the rest of the project must know of it.

    The functions take the `Settings` of a grid point.
    """

    module: str
    """Its module has `generate(settings, seed)`, `LOGIT_GROUPS` and `ROLES`."""
    description: str
    uses: frozenset[str]
    """Which of the axes in `TASK_AXES` mean something to it."""
    relations: Callable[[Any], int]
    """Relation tokens; their ids are 0, 1, ... and entities come after."""
    answer_length: Callable[[Any], int]
    """Tokens of the answer, which ends every sentence."""
    class_size: Callable[[Any], int]
    """How many tokens could stand in the answer's place, to one who knows its class."""
    min_vocab_size: int
    """The smallest vocabulary that leaves a fact to train on and one to hold out."""
    max_train_facts: Callable[[Any], int] | None = None
    """The largest `train_facts` that the vocabulary has room for."""

    def load(self) -> ModuleType:
        return import_module(self.module)


@dataclass(frozen=True)
class Family:
    """How a family is trained, and which settings mean something to it."""

    trainer: str
    """`module:function`; the function maps (settings, dataset, device) to run tables."""
    description: str
    uses: frozenset[str]
    """Settings the family has; the others take one canonical value (see `sweep.py`)."""
    tasks: tuple[str, ...]
    """Tasks that it can be trained on."""
    tables: tuple[str, ...]
    """Parquet tables that a run of it writes."""

    def load_trainer(self) -> Callable:
        module, function = self.trainer.split(":")
        return getattr(import_module(module), function)


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


# Axes that shape a dataset and that some tasks lack.
TASK_AXES = frozenset({"entity_length", "distance", "train_facts"})

TASKS = {
    "reversal": Task(
        module="reversal_curse.tasks.reversal",
        description="`A -> B` and `B <- A`; one direction of the validation pairs is held out",
        uses=frozenset({"entity_length"}),
        relations=lambda settings: 2,
        answer_length=lambda settings: settings.entity_length,
        class_size=lambda settings: settings.vocab_size // 4,
        min_vocab_size=8,
    ),
    "chain": Task(
        module="reversal_curse.tasks.chain",
        description="`A -> B`, `B -> C`, `A ~> C`; the last is held out for validation triples",
        uses=frozenset({"entity_length"}),
        relations=lambda settings: 2,
        answer_length=lambda settings: settings.entity_length,
        class_size=lambda settings: settings.vocab_size // 4,
        min_vocab_size=8,
    ),
    "chain_related": Task(
        module="reversal_curse.tasks.chain_related",
        description="`x i -> y i`, `y i -> z i`, `x i ~> z i` with fixed x, y, z; score the word",
        uses=frozenset({"train_facts"}),
        relations=lambda settings: 2,
        answer_length=lambda settings: 2,
        class_size=lambda settings: 3 * settings.vocab_size // 4,
        min_vocab_size=16,
        max_train_facts=lambda settings: 3 * settings.vocab_size // 4 - settings.vocab_size // 16,
    ),
    "in_context": Task(
        module="reversal_curse.tasks.in_context",
        description="`x -> y <-> y <- x`: the fact stands in the sentence; the last token counts",
        uses=frozenset(),
        relations=lambda settings: 3,
        answer_length=lambda settings: 1,
        class_size=lambda settings: settings.vocab_size // 4,
        min_vocab_size=16,
    ),
    "facts": Task(
        module="reversal_curse.tasks.facts",
        description="`A is B` in this order only; `B is A` is held out for every fact",
        uses=frozenset({"distance"}),
        relations=lambda settings: settings.distance,
        answer_length=lambda settings: 1,
        class_size=lambda settings: settings.vocab_size // 4,
        min_vocab_size=8,
    ),
}

_ALWAYS = {
    "task",
    "family",
    "embed_dim",
    "vocab_size",
    "variant",
    "seeds",
    "epochs",
    "eval_every",
    "learning_rate",
}

_TRANSFORMER = (
    _ALWAYS
    | TASK_AXES
    | {"layers", "heads", "pos_encoding", "batch_size", "weight_decay", "beta1", "beta2"}
    | {"dropout", "tie_head", "freeze_embeddings"}
)

FAMILIES = {
    "gpt": Family(
        trainer="reversal_curse.training.language_model:train",
        description="GPT-2 from scratch, AdamW on shuffled batches",
        uses=frozenset(_TRANSFORMER | {"loss_on"}),
        tasks=tuple(TASKS),
        tables=("metrics", "logits", "embeddings"),
    ),
    "masked_diffusion": Family(
        trainer="reversal_curse.training.masked_diffusion:train",
        description="bidirectional encoder, masked diffusion with tokens masked in any order",
        uses=frozenset(_TRANSFORMER | {"masking"}),
        tasks=("facts", "reversal", "chain"),
        tables=("metrics", "embeddings"),
    ),
    "bilinear": Family(
        trainer="reversal_curse.training.gradient_flow:train",
        description="logits x^T Theta y over fixed random embeddings, full-batch gradient descent",
        uses=frozenset(_ALWAYS | {"init_std"}),
        tasks=("reversal",),
        tables=("metrics", "separation"),
    ),
}

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
        "Positional encoding", "reversal", task="reversal", varies=("pos_encoding",)
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
        varies=("masking", "pos_encoding"),
    ),
    "bilinear_separation": FigureSpec(
        "Bilinear model: separation",
        "theory",
        tables=("separation",),
        module="bilinear_separation",
        varies=("embed_dim",),
    ),
    "sweep_overview": FigureSpec(
        "The reversal gap over the grid", "overview", module="sweep_overview", max_points=1000
    ),
}
