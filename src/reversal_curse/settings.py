"""The settings of one grid point, typed and documented.

This is the single source of the config's keys, defaults and documentation: the JSON
schema and the tables of `config/README.md` are generated from it. The defaults are
those of Zhu et al. 2024 (section 5 and appendix); a config overrides them. Where the
paper's text and the official code differ, the default follows the code, which made
the paper's curves.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reversal_curse.registry import FAMILIES, MASKINGS, TASKS

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,23}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]

MAX_SIZE, MAX_COUNT = 10**6, 10**9  # beyond any use, and safe in 32 bits

POS_ENCODINGS = ("none", "absolute", "rotary", "alibi")


def _axis(default: Any, description: str, **limits: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"axis": True}, **limits)


def _fixed(default: Any, description: str, **limits: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"axis": False}, **limits)


class Settings(BaseModel):
    """Every axis and every other setting of a grid point.

    Axes are spelt in the path of a run and multiplied by sweeps. The other settings are
    changed for a whole config (`defaults`), a family (`families`) or a variant.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    task: Literal[tuple(TASKS)] = _axis("reversal", "what is learned and asked")
    family: Literal[tuple(FAMILIES)] = _axis("gpt", "what is trained")
    layers: int = _axis(24, "transformer blocks", ge=1, le=MAX_SIZE)
    heads: int = _axis(12, "attention heads; they divide `embed_dim`", ge=1, le=MAX_SIZE)
    embed_dim: int = _axis(768, "width of embeddings and residual stream", ge=1, le=MAX_SIZE)
    vocab_size: int = _axis(
        800, "ids that entities are drawn from; relation tokens add to it", ge=1, le=MAX_SIZE
    )
    entity_length: int = _axis(1, "tokens per entity", ge=1, le=3)
    distance: int = _axis(1, "relation tokens between the entities of a fact", ge=1, le=MAX_SIZE)
    train_facts: int = _axis(200, "training triples of `chain_related`", ge=1, le=MAX_SIZE)
    pos_encoding: Literal[POS_ENCODINGS] = _axis("absolute", "how positions enter")
    masking: Literal[tuple(MASKINGS)] = _axis(
        "any_order", "tokens that masked diffusion ever masks"
    )
    variant: Name = _axis("default", "name of a block of `variants`, or `default` for none")

    seeds: int = _fixed(10, "replicas, trained as one batch: 0 to `seeds` - 1", ge=1, le=MAX_COUNT)
    epochs: int = _fixed(3000, "passes over the training set", ge=1, le=MAX_COUNT)
    eval_every: int = _fixed(10, "epochs between two evaluations", ge=1, le=MAX_COUNT)
    batch_size: int = _fixed(64, "sentences per step", ge=1, le=MAX_COUNT)
    learning_rate: float = _fixed(0.01, "constant step size", gt=0)
    learning_rate_z: float = _fixed(
        0.01, "one_layer: step size of the attention Z; `learning_rate` is that of Y", gt=0
    )
    weight_decay: float = _fixed(0.01, "decoupled decay of AdamW (times the rate)", ge=0)
    beta1: float = _fixed(0.9, "AdamW, decay of the first moment", ge=0, lt=1)
    beta2: float = _fixed(0.999, "AdamW, decay of the second moment", ge=0, lt=1)
    dropout: float = _fixed(0.1, "rate on embeddings, attention and residuals", ge=0, lt=1)
    rotary_fraction: float = _fixed(
        1.0, "part of each head's features that rotary positions rotate", gt=0, le=1
    )
    tie_head: bool = _fixed(False, "whether the output head is the token embedding")
    freeze_embeddings: bool = _fixed(False, "whether token and position embeddings stay as drawn")
    loss_on: Literal["answer", "sequence"] = _fixed(
        "answer", "tokens that are trained on: the last entity's, or all"
    )
    init_std: float = _fixed(0.01, "bilinear: standard deviation of Theta(0)", ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = _fixed(
        "auto", "of products in training and evaluation; `auto` goes by width and hardware"
    )
    compile: Literal["auto", "never", "always"] = _fixed(
        "auto", "whether training is compiled; `auto` goes by estimated time and depth"
    )


def is_axis(name: str) -> bool:
    """Whether a setting is an axis: spelt in the path and multiplied by sweeps."""
    return Settings.model_fields[name].json_schema_extra["axis"]


AXES = tuple(name for name in Settings.model_fields if is_axis(name))
FIXED = tuple(name for name in Settings.model_fields if not is_axis(name))

HASH_BASELINE = {
    "seeds": 10,
    "epochs": 3000,
    "eval_every": 10,
    "batch_size": 64,
    "learning_rate": 0.01,
    "learning_rate_z": 0.01,
    "weight_decay": 0.01,
    "beta1": 0.9,
    "beta2": 0.999,
    "dropout": 0.1,
    "rotary_fraction": 1.0,
    "tie_head": False,
    "freeze_embeddings": False,
    "loss_on": "answer",
    "init_std": 0.01,
    "precision": "auto",
    "compile": "auto",
}
"""Values that the hash in a run's path leaves out. It never changes, even where a built-in
default does; a new setting joins it with the value that keeps old runs as they were."""
