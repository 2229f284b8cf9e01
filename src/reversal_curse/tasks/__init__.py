"""The tasks: what a model is trained on and asked.

To add one, write a module with `generate(vocab_size, entity_length, seed)` that returns
a list of `Sentence`, and register it here. Nothing in this package knows of torch.
"""

from __future__ import annotations

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


TASKS = {
    "reversal": Task(
        module="reversal_curse.tasks.reversal",
        description="`A -> B` and `B <- A`; one direction of the validation pairs is held out",
        relations=("->", "<-"),
        classes=4,
        min_vocab_size=8,
    ),
}
