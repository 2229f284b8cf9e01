"""Reversal: learn `A -> B` and `B <- A`, be asked the direction never shown.

Zhu et al. 2024, section 5, with the counts of the official generator.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from reversal_curse.settings import Settings
from reversal_curse.tasks.dataset import Sentence
from reversal_curse.tasks.words import (
    disjoint_alphabets,
    first_entity,
    last_entity,
    sample_words,
    sentence_tokens,
    split_facts,
)

FORWARD, BACKWARD = 0, 1
RELATIONS = 2

LOGIT_GROUPS = {
    "train_forward": (pl.col("pair_split") == "train") & (pl.col("direction") == "forward"),
    "train_backward": (pl.col("pair_split") == "train") & (pl.col("direction") == "backward"),
    "seen": (pl.col("pair_split") == "validation") & (pl.col("split") == "train"),
    "unseen": (pl.col("pair_split") == "validation") & (pl.col("split") == "unseen"),
}
ROLES = {"A": ("forward", first_entity), "B": ("forward", last_entity)}


def generate(settings: Settings, seed: int) -> list[Sentence]:
    """The sentences of one seed: train pairs first, then the validation pairs.

    Entities are words of `entity_length` tokens over two disjoint alphabets of
    `vocab_size // 4` tokens, paired at random. 70 % of the pairs are train pairs, with
    both directions in the training set. Of each validation pair a coin puts one
    direction into the training set; the other is the unseen direction.
    """
    length = settings.entity_length
    rng = np.random.default_rng([seed, settings.vocab_size, length])
    alphabets = disjoint_alphabets(rng, settings.vocab_size, 2, RELATIONS)
    words = [sample_words(rng, letters, length) for letters in alphabets]
    pairs = list(zip(*words, strict=True))
    train, validation = split_facts(rng, len(pairs), length)

    sentences = []
    for pair in train:
        for direction in ("forward", "backward"):
            sentences.append(_sentence(pair, *pairs[pair], direction, "train", "train"))
    for pair in validation:
        directions = ["forward", "backward"]
        shown = directions.pop(int(rng.integers(2)))
        sentences.append(_sentence(pair, *pairs[pair], shown, "validation", "train"))
        sentences.append(_sentence(pair, *pairs[pair], directions[0], "validation", "unseen"))
    return sentences


def _sentence(
    pair: int, a: np.ndarray, b: np.ndarray, direction: str, pair_split: str, split: str
) -> Sentence:
    parts = (a, FORWARD, b) if direction == "forward" else (b, BACKWARD, a)
    return Sentence(pair, pair_split, direction, split, sentence_tokens(*parts))
