"""Chain of thought: learn `A -> B` and `B -> C`, be asked `A ~> C`.

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

STEP, LEAP = 0, 1
RELATIONS = 2
DIRECTIONS = ("a_to_b", "b_to_c", "a_to_c")

LOGIT_GROUPS = {
    f"{split}_{direction}": (pl.col("pair_split") == split) & (pl.col("direction") == direction)
    for split in ("train", "validation")
    for direction in DIRECTIONS
}
ROLES = {
    "A": ("a_to_b", first_entity),
    "B": ("a_to_b", last_entity),
    "C": ("b_to_c", last_entity),
}


def generate(settings: Settings, seed: int) -> list[Sentence]:
    """The sentences of one seed: train triples first, then the validation triples.

    Entities are words over three disjoint alphabets, matched at random. The training set
    holds all three sentences of a train triple and the first two of a validation triple.
    """
    length = settings.entity_length
    rng = np.random.default_rng([seed, settings.vocab_size, length])
    alphabets = disjoint_alphabets(rng, settings.vocab_size, 3, RELATIONS)
    words = [sample_words(rng, letters, length) for letters in alphabets]
    triples = list(zip(*words, strict=True))
    train, validation = split_facts(rng, len(triples), length)
    return [
        sentence
        for pair_split, chosen in (("train", train), ("validation", validation))
        for fact in chosen
        for sentence in triple_sentences(fact, *triples[fact], pair_split)
    ]


def triple_sentences(
    fact: int, a: np.ndarray, b: np.ndarray, c: np.ndarray, pair_split: str
) -> list[Sentence]:
    """`A -> B`, `B -> C` and `A ~> C`; the last is unseen in a validation triple."""
    unseen = "unseen" if pair_split == "validation" else "train"
    return [
        Sentence(fact, pair_split, "a_to_b", "train", sentence_tokens(a, STEP, b)),
        Sentence(fact, pair_split, "b_to_c", "train", sentence_tokens(b, STEP, c)),
        Sentence(fact, pair_split, "a_to_c", unseen, sentence_tokens(a, LEAP, c)),
    ]
