"""One-directional facts: learn `A is B` in this order only, then be asked for A after `B is`.

Jeon et al. 2026; here for autoregressive models too. The relation is `distance` tokens long.
"""

from typing import Any

import numpy as np

from reversal_curse.tasks.task import Sentence, Task
from reversal_curse.tasks.words import disjoint_alphabets, sentence_tokens

ROLES = {"A": ("forward", lambda k: slice(k)), "B": ("forward", lambda k: slice(-k, None))}


def generate(settings: Any, seed: int) -> list[Sentence]:
    """Draw V // 4 facts: each in the training set as `A is B`, and unseen as `B is A`."""
    relation = np.arange(settings.distance)
    rng = np.random.default_rng([seed, settings.vocab_size])
    subjects, objects = disjoint_alphabets(rng, settings.vocab_size, 2, settings.distance)
    sentences = []
    for fact, (a, b) in enumerate(zip(subjects, objects, strict=True)):
        shown, unseen = sentence_tokens(a, relation, b), sentence_tokens(b, relation, a)
        sentences.append(Sentence(fact, "validation", "forward", "train", shown))
        sentences.append(Sentence(fact, "validation", "backward", "unseen", unseen))
    return sentences


TASK = Task(
    description="`A is B` in this order only; `B is A` is held out for every fact",
    unseen="reverse query",
    parts=frozenset({"distance"}),
    generate=generate,
    relations=lambda settings: settings.distance,
    answer_length=lambda settings: 1,
    class_size=lambda settings: settings.vocab_size // 4,
    sentences=lambda settings: settings.vocab_size // 4,
    length=lambda settings: settings.distance + 2,
    min_vocab_size=8,
    roles=ROLES,
)
