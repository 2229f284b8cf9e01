"""A task: what is learned and asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

SPLITS = {name: pl.col("split") == name for name in ("train", "unseen")}


@dataclass(frozen=True)
class Sentence:
    """One sentence of one seed, a row of the `dataset` table."""

    pair: int
    pair_split: str
    direction: str
    split: str
    tokens: list[int]


@dataclass(frozen=True)
class Task:
    """All that is known about a task; its functions take the `Settings` of a grid point."""

    description: str
    unseen: str
    """What plots call the held-out sentences."""
    generate: Callable[[Any, int], list[Sentence]]
    """Draws the sentences of one seed, given settings and seed."""
    relations: Callable[[Any], int]
    """Relation tokens; their ids are 0, 1, ... and entities come after."""
    sentences: Callable[[Any], int]
    """Sentences in a seed's training set."""
    min_vocab_size: int
    """The smallest vocabulary that leaves a fact to train on and one to hold out."""
    parts: frozenset[str] = frozenset()
    """The parts of its sentences; settings with one of these as their `of` shape the sentences."""
    answer_length: Callable[[Any], int] = lambda settings: settings.entity_length
    """Tokens of the answer, which ends every sentence."""
    class_size: Callable[[Any], int] = lambda settings: settings.vocab_size // 4
    """The number of tokens in the answer's class, from which a guess is made."""
    length: Callable[[Any], int] = lambda settings: 2 * settings.entity_length + 1
    """Tokens in a sentence."""
    splits: Mapping[str, pl.Expr] = field(default_factory=lambda: SPLITS)
    """What is asked at every evaluation: conditions on sentences, by the name of the split."""
    pad: Callable[[Any], int | None] = lambda settings: None
    """The token that fills shorter sentences up, in front; None if all are equally long."""
    only: Mapping[str, tuple] = field(default_factory=dict)
    """The only values that it knows of some settings."""
    max_train_facts: Callable[[Any], int] | None = None
    """The largest `train_facts` that the vocabulary has room for."""
    logit_groups: Mapping[str, pl.Expr] = field(default_factory=dict)
    """The groups of queries that the `logits` table shows, each a condition on sentences."""
    roles: Mapping[str, tuple[str, Callable[[int], slice]]] = field(default_factory=dict)
    """Where to find the entities of a role: the direction of the sentence, and a function that maps
    the length of an entity to its tokens."""

    def vocabulary(self, settings: Any) -> int:
        """Count the tokens of the language: entities' ids and relation tokens."""
        return settings.vocab_size + self.relations(settings)
