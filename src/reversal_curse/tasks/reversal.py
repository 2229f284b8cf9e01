"""Reversal: learn `A -> B` and `B <- A`, then be asked the direction never shown.

Zhu et al. 2024, section 5, with the counts of the official generator.
"""

from typing import Any

import numpy as np
import polars as pl

from reversal_curse.tasks.task import Sentence, Task
from reversal_curse.tasks.words import sentence_tokens, training_sentences, word_facts

FORWARD, BACKWARD = 0, 1
RELATIONS = 2

_TRAIN, _HELD_OUT = (pl.col("pair_split") == split for split in ("train", "validation"))
LOGIT_GROUPS = {
    "train_forward": _TRAIN & (pl.col("direction") == "forward"),
    "train_backward": _TRAIN & (pl.col("direction") == "backward"),
    "seen": _HELD_OUT & (pl.col("split") == "train"),
    "unseen": _HELD_OUT & (pl.col("split") == "unseen"),
}
ROLES = {"A": ("forward", lambda k: slice(k)), "B": ("forward", lambda k: slice(-k, None))}


def generate(settings: Any, seed: int) -> list[Sentence]:
    """Draw the sentences of one seed: train pairs first, then validation pairs.

    Both directions of a train pair are in the training set. Of each validation pair one direction
    is in the training set and the other unseen: backward for half of the pairs, forward for the
    other half. (The official code tosses a coin for each pair.)
    """
    rng = np.random.default_rng([seed, settings.vocab_size, settings.entity_length])
    facts = word_facts(rng, settings, 2, RELATIONS)
    held_out = sum(pair_split == "validation" for _, pair_split, _ in facts)
    backward = iter(rng.permutation(held_out) % 2)
    sentences = []
    for fact, pair_split, (a, b) in facts:
        directions = [
            ("forward", sentence_tokens(a, FORWARD, b)),
            ("backward", sentence_tokens(b, BACKWARD, a)),
        ]
        splits = ("train", "train")
        if pair_split == "validation":
            splits = ("train", "unseen")
            if next(backward):
                directions.reverse()
        for (direction, tokens), split in zip(directions, splits, strict=True):
            sentences.append(Sentence(fact, pair_split, direction, split, tokens))
    return sentences


TASK = Task(
    description="`A -> B` and `B <- A`; one direction of the validation pairs is held out",
    unseen="unseen direction",
    parts=frozenset({"words"}),
    generate=generate,
    relations=lambda settings: RELATIONS,
    sentences=training_sentences(train=2, validation=1),
    min_vocab_size=8,
    logit_groups=LOGIT_GROUPS,
    roles=ROLES,
)
