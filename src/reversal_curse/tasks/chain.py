"""Chain of thought: learn `A -> B` and `B -> C`, then be asked `A ~> C`.

Zhu et al. 2024, section 5, with the counts of the official generator.
"""

from typing import Any

import numpy as np
import polars as pl

from reversal_curse.tasks.task import Sentence, Task
from reversal_curse.tasks.words import sentence_tokens, training_sentences, word_facts

STEP, LEAP = 0, 1
RELATIONS = 2

LOGIT_GROUPS = {
    f"{split}_{direction}": (pl.col("pair_split") == split) & (pl.col("direction") == direction)
    for split in ("train", "validation")
    for direction in ("a_to_b", "b_to_c", "a_to_c")
}
ROLES = {
    "A": ("a_to_b", lambda k: slice(k)),
    "B": ("a_to_b", lambda k: slice(-k, None)),
    "C": ("b_to_c", lambda k: slice(-k, None)),
}


def generate(settings: Any, seed: int) -> list[Sentence]:
    """Draw the sentences of one seed: train triples first, then the validation triples."""
    rng = np.random.default_rng([seed, settings.vocab_size, settings.entity_length])
    return [
        sentence
        for fact, pair_split, words in word_facts(rng, settings, 3, RELATIONS)
        for sentence in triple_sentences(fact, *words, pair_split)
    ]


def triple_sentences(
    fact: int, a: np.ndarray, b: np.ndarray, c: np.ndarray, pair_split: str
) -> list[Sentence]:
    """Spell `A -> B`, `B -> C` and `A ~> C`; the last is unseen in a validation triple."""
    unseen = "unseen" if pair_split == "validation" else "train"
    return [
        Sentence(fact, pair_split, "a_to_b", "train", sentence_tokens(a, STEP, b)),
        Sentence(fact, pair_split, "b_to_c", "train", sentence_tokens(b, STEP, c)),
        Sentence(fact, pair_split, "a_to_c", unseen, sentence_tokens(a, LEAP, c)),
    ]


TASK = Task(
    description="`A -> B`, `B -> C`, `A ~> C`; the last is held out for validation triples",
    unseen="unseen, A ⇝ C",
    parts=frozenset({"words"}),
    generate=generate,
    relations=lambda settings: RELATIONS,
    sentences=training_sentences(train=3, validation=2),
    min_vocab_size=8,
    logit_groups=LOGIT_GROUPS,
    roles=ROLES,
)
