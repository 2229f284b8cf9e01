"""Entities: alphabets, words over them, and which facts are held out."""

from typing import Any

import numpy as np

TRAIN_FRACTION = 0.7
WORDS_PER_LETTER = 2
# The official code keeps this many facts of three-token entities, so that they can be learned.
LONG_ENTITY_CAPS = {3: (100, 50)}


def disjoint_alphabets(
    rng: np.random.Generator, vocab_size: int, count: int, relations: int
) -> list[np.ndarray]:
    """Draw `count` disjoint alphabets of `vocab_size // 4` ids; ids start after the relations."""
    size = vocab_size // 4
    return np.split(rng.permutation(vocab_size)[: count * size] + relations, count)


def fact_counts(settings: Any) -> tuple[int, int]:
    """Count the train and the validation facts of entities that are words."""
    letters = settings.vocab_size // 4
    count = min(letters**settings.entity_length, WORDS_PER_LETTER * letters)
    train = round(count * TRAIN_FRACTION)
    most_train, most_validation = LONG_ENTITY_CAPS.get(settings.entity_length, (count, count))
    return min(train, most_train), min(count - train, most_validation)


def word_facts(
    rng: np.random.Generator, settings: Any, entities: int, relations: int
) -> list[tuple[int, str, tuple[np.ndarray, ...]]]:
    """Draw facts (number, `train` or `validation`, `entities` words); 70 % are train facts.

    Entities are distinct words of `entity_length` tokens over disjoint alphabets of
    `vocab_size // 4` tokens, matched at random.
    """
    length = settings.entity_length
    words = []
    for letters in disjoint_alphabets(rng, settings.vocab_size, entities, relations):
        possible = len(letters) ** length
        count = min(possible, WORDS_PER_LETTER * len(letters))
        # Words are numbers in base len(letters): the power itself is never enumerated.
        codes = rng.choice(possible, size=count, replace=False)
        powers = len(letters) ** np.arange(length)[::-1]
        words.append(letters[codes[:, None] // powers % len(letters)])
    facts = list(zip(*words, strict=True))
    order = rng.permutation(len(facts)).tolist()
    train, validation = fact_counts(settings)
    cutoff = round(len(facts) * TRAIN_FRACTION)
    chosen = {"train": order[:train], "validation": order[cutoff : cutoff + validation]}
    return [(fact, split, facts[fact]) for split, numbers in chosen.items() for fact in numbers]


def sentence_tokens(*parts: np.ndarray | int) -> list[int]:
    """Join the parts of a sentence, entities and relation tokens, to one list of ids."""
    return [int(token) for part in parts for token in np.atleast_1d(part)]
