"""Two hops: learn `A r1 B` and `B r2 C`, then be asked `A r1 r2 C`.

Lin et al. 2025 (arXiv 2509.24653): what a model lacks for two hops of facts that it knows is the
zero-hop sentence `B = B`, which the setting `bridge: objects` adds. Some triples are trained with
two hops, so that r1 r2 means something.
"""

from typing import Any

import numpy as np

from reversal_curse.tasks.task import Sentence, Task
from reversal_curse.tasks.words import (
    fact_counts,
    sentence_tokens,
    training_sentences,
    word_facts,
)

FIRST, SECOND, NAME, PAD = range(4)
RELATIONS = 4
ROLES = {
    "A": ("first", lambda k: slice(-2 * k - 1, -k - 1)),
    "B": ("first", lambda k: slice(-k, None)),
    "C": ("second", lambda k: slice(-k, None)),
}


def generate(settings: Any, seed: int) -> list[Sentence]:
    """Draw the sentences of one seed: train triples first, then the validation triples."""
    rng = np.random.default_rng([seed, settings.vocab_size, settings.entity_length])
    sentences = []
    for fact, pair_split, (a, b, c) in word_facts(rng, settings, 3, RELATIONS):
        unseen = "unseen" if pair_split == "validation" else "train"
        rows = [
            (pair_split, "first", "train", (PAD, a, FIRST, b)),
            (pair_split, "second", "train", (PAD, b, SECOND, c)),
            (pair_split, "two_hop", unseen, (a, FIRST, SECOND, c)),
        ]
        if settings.bridge == "objects":
            rows.append(("train", "added", "train", (PAD, b, NAME, b)))
        sentences += [Sentence(fact, *row, sentence_tokens(*parts)) for *row, parts in rows]
    return sentences


def _sentences(settings: Any) -> int:
    added = sum(fact_counts(settings)) if settings.bridge == "objects" else 0
    return training_sentences(train=3, validation=2)(settings) + added


TASK = Task(
    description="`A r1 B`, `B r2 C`, `A r1 r2 C`; the last is held out for validation triples",
    unseen="unseen, A r1 r2 ?",
    parts=frozenset({"words", "bridge"}),
    generate=generate,
    relations=lambda settings: RELATIONS,
    sentences=_sentences,
    length=lambda settings: 2 * settings.entity_length + 2,
    pad=lambda settings: PAD,
    min_vocab_size=8,
    only={"bridge": ("none", "objects")},
    roles=ROLES,
)
