"""What there is: tasks, families and figures, by the names that configs use.

Adding one is one new module and one entry here. Nothing is imported until it is asked
for, so that reading a config loads neither torch nor matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType


@dataclass(frozen=True)
class Task:
    """How a task is found, and what the rest of the project must know of it."""

    module: str
    description: str
    relations: tuple[str, ...]
    """Names of the relation tokens; their ids are 0, 1, ... and entities come after."""
    classes: int
    """The vocabulary holds this many times the size of one entity class."""
    min_vocab_size: int
    """The smallest vocabulary that leaves a pair to train on and one to hold out."""

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
    tables: tuple[str, ...]
    """Parquet tables that a run of it writes."""

    def load_trainer(self) -> Callable:
        module, function = self.trainer.split(":")
        return getattr(import_module(module), function)


@dataclass(frozen=True)
class FigureSpec:
    """What a figure shows and which run tables of its sweep it reads."""

    title: str
    group: str
    tables: tuple[str, ...] = ("metrics",)


TASKS = {
    "reversal": Task(
        module="reversal_curse.tasks.reversal",
        description="`A -> B` and `B <- A`; one direction of the validation pairs is held out",
        relations=("->", "<-"),
        classes=4,
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

FAMILIES = {
    "gpt": Family(
        trainer="reversal_curse.training.language_model:train",
        description="GPT-2 from scratch, AdamW on shuffled batches",
        uses=frozenset(
            _ALWAYS
            | {
                "layers",
                "heads",
                "entity_length",
                "pos_encoding",
                "batch_size",
                "weight_decay",
                "beta1",
                "beta2",
                "dropout",
                "tie_head",
                "freeze_embeddings",
                "loss_on",
            }
        ),
        tables=("metrics", "logits", "embeddings"),
    ),
    "bilinear": Family(
        trainer="reversal_curse.training.gradient_flow:train",
        description="logits x^T Theta y over fixed random embeddings, full-batch gradient descent",
        uses=frozenset(_ALWAYS | {"init_std"}),
        tables=("metrics", "separation"),
    ),
}

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
