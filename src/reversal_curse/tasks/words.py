"""Entities: alphabets, words over them, and which facts are train and which validation."""

from __future__ import annotations

import numpy as np

TRAIN_FRACTION = 0.7
WORDS_PER_ALPHABET_TOKEN = 2
# The official code keeps this many facts of three-token entities, so that they can be learned.
LONG_ENTITY_CAPS = {3: (100, 50)}


def disjoint_alphabets(
    rng: np.random.Generator, vocab_size: int, count: int, relations: int
) -> list[np.ndarray]:
    """`count` disjoint alphabets of `vocab_size // 4` ids each; ids start after the relations."""
    size = vocab_size // 4
    tokens = rng.permutation(vocab_size)[: count * size] + relations
    return np.split(tokens, count)


def sample_words(rng: np.random.Generator, letters: np.ndarray, length: int) -> np.ndarray:
    """Distinct words, shape (count, length), drawn from the Cartesian power of `letters`."""
    possible = len(letters) ** length
    count = min(possible, WORDS_PER_ALPHABET_TOKEN * len(letters))
    # Words are numbers in base len(letters): the power itself is never enumerated.
    codes = rng.choice(possible, size=count, replace=False)
    digits = codes[:, None] // len(letters) ** np.arange(length)[::-1] % len(letters)
    return letters[digits]


def first_entity(length: int) -> slice:
    """The place of a sentence's first entity of `length` tokens."""
    return slice(None, length)


def last_entity(length: int) -> slice:
    """The place of a sentence's last entity of `length` tokens."""
    return slice(-length, None)


def split_facts(
    rng: np.random.Generator, count: int, entity_length: int
) -> tuple[list[int], list[int]]:
    """Indices of the train facts (70 %) and of the validation facts, in random order."""
    order = rng.permutation(count).tolist()
    cutoff = round(count * TRAIN_FRACTION)
    train_cap, validation_cap = LONG_ENTITY_CAPS.get(entity_length, (None, None))
    return order[:cutoff][:train_cap], order[cutoff:][:validation_cap]


def sentence_tokens(*parts: np.ndarray | int) -> list[int]:
    """The parts of a sentence, entities and relation tokens, as one list of ids."""
    return [int(token) for part in parts for token in np.atleast_1d(part)]
