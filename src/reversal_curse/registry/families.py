"""The families: what is trained, and which settings mean something to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from reversal_curse.registry.tasks import TASK_AXES, TASKS


@dataclass(frozen=True)
class Family:
    """How a family is trained, and which settings mean something to it."""

    start: str
    """`module:function`; it maps (settings, dataset, device) to a `Training` at epoch 0."""
    description: str
    uses: frozenset[str]
    """Settings the family has; the others take one canonical value (see `sweep.py`)."""
    tasks: tuple[str, ...]
    """Tasks that it can be trained on."""
    precision: str = "float32"
    """Floating-point numbers that it is trained in, where the setting `precision` is not its."""

    def load_start(self) -> Callable:
        module, function = self.start.split(":")
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

_TRANSFORMER = (
    _ALWAYS
    | TASK_AXES
    | {"layers", "heads", "pos_encoding", "batch_size", "weight_decay", "beta1", "beta2"}
    | {"dropout", "rotary_fraction", "tie_head", "freeze_embeddings", "precision", "compile"}
)

FAMILIES = {
    "gpt": Family(
        start="reversal_curse.training.language_model:start",
        description="GPT-2 from scratch, AdamW on shuffled batches",
        uses=frozenset(_TRANSFORMER | {"loss_on"}),
        tasks=tuple(TASKS),
    ),
    "masked_diffusion": Family(
        start="reversal_curse.training.masked_diffusion:start",
        description="bidirectional encoder, masked diffusion with tokens masked in any order",
        uses=frozenset(_TRANSFORMER | {"masking"}),
        tasks=("facts", "reversal", "chain"),
    ),
    "one_layer": Family(
        start="reversal_curse.training.one_layer:start",
        description="one-layer transformer in terms of Y (output) and Z (attention), orthonormal "
        "embeddings, gradient descent from zero",
        uses=frozenset(_ALWAYS - {"embed_dim"} | TASK_AXES | {"learning_rate_z"}),
        tasks=tuple(TASKS),
        precision="float64",
    ),
    "bilinear": Family(
        start="reversal_curse.training.gradient_flow:start",
        description="logits x^T Theta y over fixed random embeddings, full-batch gradient descent",
        uses=frozenset(_ALWAYS | {"init_std"}),
        tasks=("reversal",),
    ),
}


def uses(family: str, task: str) -> frozenset[str]:
    """The settings that mean something to a family trained on a task."""
    return FAMILIES[family].uses - (TASK_AXES - TASKS[task].uses)
