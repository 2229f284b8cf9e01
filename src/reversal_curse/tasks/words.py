"""Entities as words over alphabets, and the choice of facts to hold out."""

from collections.abc import Callable
from typing import Any

import numpy as np

TRAIN_FRACTION = 0.7
WORDS_PER_LETTER = 2
# The official code keeps this many facts of three-token entities, so that they can be learned.
LONG_ENTITY_CAPS = {3: (100, 50)}


def disjoint_alphabets(
    rng: np.random.Generator, vocab_size: int, count: int, relations: int
) -> list[np.ndarray]:
    """Draw `count` disjoint alphabets of `vocab_size // 4` ids, which follow the relations' ids."""
    size = vocab_size // 4
    return np.split(rng.permutation(vocab_size)[: count * size] + relations, count)


def word_count(settings: Any) -> int:
    """Count the words of an alphabet that are entities: the number of facts before any cap."""
    letters = settings.vocab_size // 4
    return min(letters**settings.entity_length, WORDS_PER_LETTER * letters)


def fact_counts(settings: Any) -> tuple[int, int]:
    """Count train and validation facts."""
    count = word_count(settings)
    train = round(count * TRAIN_FRACTION)
    most_train, most_validation = LONG_ENTITY_CAPS.get(settings.entity_length, (count, count))
    return min(train, most_train), min(count - train, most_validation)


def training_sentences(train: int, validation: int) -> Callable[[Any], int]:
    """Count training sentences, given how many show a train and a validation fact."""
    return lambda settings: int(np.dot((train, validation), fact_counts(settings)))


def draw_words(
    rng: np.random.Generator, settings: Any, entities: int, relations: int
) -> list[np.ndarray]:
    """Draw the words of several alphabets: arrays (words, `entity_length`) of ids."""
    length, words = settings.entity_length, []
    for letters in disjoint_alphabets(rng, settings.vocab_size, entities, relations):
        # Words are numbers in base len(letters): the power itself is never enumerated.
        codes = rng.choice(len(letters) ** length, size=word_count(settings), replace=False)
        powers = len(letters) ** np.arange(length)[::-1]
        words.append(letters[codes[:, None] // powers % len(letters)])
    return words


def word_facts(
    rng: np.random.Generator, settings: Any, entities: int, relations: int
) -> list[tuple[int, str, tuple[np.ndarray, ...]]]:
    """Draw facts (number, split, words), 70 % of them to train on; words are paired at random."""
    facts = list(zip(*draw_words(rng, settings, entities, relations), strict=True))
    order = rng.permutation(len(facts)).tolist()
    train, validation = fact_counts(settings)
    cutoff = round(len(facts) * TRAIN_FRACTION)
    chosen = {"train": order[:train], "validation": order[cutoff : cutoff + validation]}
    return [(fact, split, facts[fact]) for split, numbers in chosen.items() for fact in numbers]


def sentence_tokens(*parts: np.ndarray | int) -> list[int]:
    """Join entities and relation tokens into the list of a sentence's ids."""
    return [int(token) for part in parts for token in np.atleast_1d(part)]
