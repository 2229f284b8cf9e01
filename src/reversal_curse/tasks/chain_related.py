"""Chain of thought with entities that share a token: `x i -> y i`, `y i -> z i`, `x i ~> z i`.

Zhu et al. 2024, appendix. The class tokens x, y, z are the same in every fact, so the class
of an answer can be guessed, and only the whole word counts.
"""

from typing import Any

import numpy as np

from reversal_curse.tasks.chain import RELATIONS, triple_sentences
from reversal_curse.tasks.task import Sentence, Task

ROLES = {
    "x": ("a_to_b", lambda k: slice(0, 1)),
    "y": ("b_to_c", lambda k: slice(0, 1)),
    "z": ("b_to_c", lambda k: slice(3, 4)),
    "index": ("a_to_b", lambda k: slice(1, 2)),
}


def generate(settings: Any, seed: int) -> list[Sentence]:
    """Draw train, then validation triples: at V = 800, 50 of 600, as in the official code."""
    vocab_size, train = settings.vocab_size, settings.train_facts
    rng = np.random.default_rng([seed, vocab_size, train])
    x, y, z, *indices = rng.permutation(vocab_size)[: 3 + 3 * vocab_size // 4] + RELATIONS
    sentences = []
    for fact, i in enumerate(indices[: train + vocab_size // 16]):
        pair_split = "train" if fact < train else "validation"
        words = [np.array([token, i]) for token in (x, y, z)]
        sentences += triple_sentences(fact, *words, pair_split)
    return sentences


TASK = Task(
    description="`x i -> y i`, `y i -> z i`, `x i ~> z i` with fixed x, y, z; score the word",
    unseen="unseen, x i ⇝ z i",
    parts=frozenset({"train_facts"}),
    generate=generate,
    relations=lambda settings: RELATIONS,
    answer_length=lambda settings: 2,
    class_size=lambda settings: 3 * settings.vocab_size // 4,
    sentences=lambda settings: 3 * settings.train_facts + 2 * (settings.vocab_size // 16),
    length=lambda settings: 5,
    min_vocab_size=16,
    max_train_facts=lambda settings: 3 * settings.vocab_size // 4 - settings.vocab_size // 16,
    roles=ROLES,
)
