"""The families: what is trained.

To add one, write its model here and a trainer in `reversal_curse.training`, and
register it below. Importing this package does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module


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
