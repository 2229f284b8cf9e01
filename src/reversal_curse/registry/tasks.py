"""The tasks: what is learned and asked."""

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
    """Its module has `generate(settings, seed)`, `LOGIT_GROUPS` (group to a condition on its
    sentences) and `ROLES` (role to a direction and the tokens' place in its sentences)."""
    description: str
    unseen: str
    """What plots call the sentences that are held out."""
    parts: frozenset[str]
    """What its sentences have: the settings whose `of` names one of these shape them."""
    relations: Callable[[Any], int]
    """Relation tokens; their ids are 0, 1, ... and entities come after."""
    answer_length: Callable[[Any], int]
    """Tokens of the answer, which ends every sentence."""
    class_size: Callable[[Any], int]
    """How many tokens could stand in the answer's place, to one who knows its class."""
    sentences: Callable[[Any], int]
    """Sentences in a seed's training set."""
    length: Callable[[Any], int]
    """Tokens in a sentence."""
    min_vocab_size: int
    """The smallest vocabulary that leaves a fact to train on and one to hold out."""
    max_train_facts: Callable[[Any], int] | None = None
    """The largest `train_facts` that the vocabulary has room for."""

    def vocabulary(self, settings: Any) -> int:
        """How many tokens the language has: entities' ids and relation tokens."""
        return settings.vocab_size + self.relations(settings)

    def load(self) -> ModuleType:
        return import_module(self.module)


def _word_facts(settings: Any) -> tuple[int, int]:
    """Train and validation facts of entities that are words (see `tasks/words.py`)."""
    letters = settings.vocab_size // 4
    count = min(letters**settings.entity_length, 2 * letters)
    train = round(0.7 * count)
    validation = count - train
    return (
        (min(train, 100), min(validation, 50))
        if settings.entity_length == 3
        else (train, validation)
    )


def _weighted(train: int, validation: int) -> Callable[[Any], int]:
    """Training sentences, where each train and each validation fact has so many."""

    def sentences(settings: Any) -> int:
        facts = _word_facts(settings)
        return train * facts[0] + validation * facts[1]

    return sentences


TASKS = {
    "reversal": Task(
        module="reversal_curse.tasks.reversal",
        description="`A -> B` and `B <- A`; one direction of the validation pairs is held out",
        unseen="unseen direction",
        parts=frozenset({"words"}),
        relations=lambda settings: 2,
        answer_length=lambda settings: settings.entity_length,
        class_size=lambda settings: settings.vocab_size // 4,
        sentences=_weighted(train=2, validation=1),
        length=lambda settings: 2 * settings.entity_length + 1,
        min_vocab_size=8,
    ),
    "chain": Task(
        module="reversal_curse.tasks.chain",
        description="`A -> B`, `B -> C`, `A ~> C`; the last is held out for validation triples",
        unseen="unseen, A ⇝ C",
        parts=frozenset({"words"}),
        relations=lambda settings: 2,
        answer_length=lambda settings: settings.entity_length,
        class_size=lambda settings: settings.vocab_size // 4,
        sentences=_weighted(train=3, validation=2),
        length=lambda settings: 2 * settings.entity_length + 1,
        min_vocab_size=8,
    ),
    "chain_related": Task(
        module="reversal_curse.tasks.chain_related",
        description="`x i -> y i`, `y i -> z i`, `x i ~> z i` with fixed x, y, z; score the word",
        unseen="unseen, x i ⇝ z i",
        parts=frozenset({"train_facts"}),
        relations=lambda settings: 2,
        answer_length=lambda settings: 2,
        class_size=lambda settings: 3 * settings.vocab_size // 4,
        sentences=lambda settings: 3 * settings.train_facts + 2 * (settings.vocab_size // 16),
        length=lambda settings: 5,
        min_vocab_size=16,
        max_train_facts=lambda settings: 3 * settings.vocab_size // 4 - settings.vocab_size // 16,
    ),
    "in_context": Task(
        module="reversal_curse.tasks.in_context",
        description="`x -> y <-> y <- x`: the fact stands in the sentence; the last token counts",
        unseen="unseen sentences",
        parts=frozenset(),
        relations=lambda settings: 3,
        answer_length=lambda settings: 1,
        class_size=lambda settings: settings.vocab_size // 4,
        sentences=lambda settings: 7 * (settings.vocab_size // 4),
        length=lambda settings: 7,
        min_vocab_size=16,
    ),
    "facts": Task(
        module="reversal_curse.tasks.facts",
        description="`A is B` in this order only; `B is A` is held out for every fact",
        unseen="reverse query",
        parts=frozenset({"distance"}),
        relations=lambda settings: settings.distance,
        answer_length=lambda settings: 1,
        class_size=lambda settings: settings.vocab_size // 4,
        sentences=lambda settings: settings.vocab_size // 4,
        length=lambda settings: settings.distance + 2,
        min_vocab_size=8,
    ),
}
