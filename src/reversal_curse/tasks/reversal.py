"""Reversal: learn `A -> B` and `B <- A`, be asked the direction never shown.

Zhu et al. 2024, section 5.1, with the counts of the official generator.
"""

from __future__ import annotations

import numpy as np

from reversal_curse.tasks.dataset import Sentence

FORWARD, BACKWARD = 0, 1
RELATION_TOKENS = 2
TRAIN_FRACTION = 0.7
WORDS_PER_ALPHABET_TOKEN = 2
# The official code keeps this many pairs of three-token entities, so that they can be learned.
LONG_ENTITY_CAPS = {3: (100, 50)}


def generate(vocab_size: int, entity_length: int, seed: int) -> list[Sentence]:
    """The sentences of one seed: train pairs first, then the validation pairs.

    Entities are words of `entity_length` tokens over two disjoint alphabets of
    `vocab_size // 4` tokens, paired at random. 70 % of the pairs are train pairs, with
    both directions in the training set. Of each validation pair a coin puts one
    direction into the training set; the other is the unseen direction.
    """
    rng = np.random.default_rng([seed, vocab_size, entity_length])
    alphabet = vocab_size // 4
    tokens = rng.permutation(vocab_size)[: 2 * alphabet] + RELATION_TOKENS
    words = [
        _sample_words(rng, letters, entity_length)
        for letters in (tokens[:alphabet], tokens[alphabet:])
    ]
    pairs = list(zip(*words, strict=True))
    order = rng.permutation(len(pairs))
    cutoff = round(len(pairs) * TRAIN_FRACTION)
    train_cap, validation_cap = LONG_ENTITY_CAPS.get(entity_length, (None, None))
    train, validation = order[:cutoff][:train_cap], order[cutoff:][:validation_cap]

    sentences = []
    for pair in train:
        a, b = pairs[pair]
        for direction in ("forward", "backward"):
            sentences.append(_sentence(int(pair), a, b, direction, "train", "train"))
    for pair in validation:
        a, b = pairs[pair]
        directions = ["forward", "backward"]
        shown = directions.pop(int(rng.integers(2)))
        sentences.append(_sentence(int(pair), a, b, shown, "validation", "train"))
        sentences.append(_sentence(int(pair), a, b, directions[0], "validation", "unseen"))
    return sentences


def _sample_words(rng: np.random.Generator, letters: np.ndarray, length: int) -> np.ndarray:
    """Distinct words, shape (count, length), drawn from the Cartesian power of `letters`."""
    possible = len(letters) ** length
    count = min(possible, WORDS_PER_ALPHABET_TOKEN * len(letters))
    # Words are numbers in base len(letters): the power itself is never enumerated.
    codes = rng.choice(possible, size=count, replace=False)
    digits = codes[:, None] // len(letters) ** np.arange(length)[::-1] % len(letters)
    return letters[digits]


def _sentence(
    pair: int, a: np.ndarray, b: np.ndarray, direction: str, pair_split: str, split: str
) -> Sentence:
    first, relation, last = (a, FORWARD, b) if direction == "forward" else (b, BACKWARD, a)
    return Sentence(
        pair=pair,
        pair_split=pair_split,
        direction=direction,
        split=split,
        tokens=[*first.tolist(), relation, *last.tolist()],
    )
