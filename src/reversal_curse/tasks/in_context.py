"""In-context reversal: `x -> y <-> y <- x`, where the fact stands in the sentence itself.

Zhu et al. 2024, appendix: here the curse is absent, since the last token can be copied.
"""

from typing import Any

import numpy as np

from reversal_curse.tasks.task import Sentence, Task
from reversal_curse.tasks.words import sentence_tokens

FORWARD, BACKWARD, SAME = 0, 1, 2
RELATIONS = 3
Y_TOKENS = 10
TRAIN_Y_TOKENS = 7
ROLES = {"A": ("backward", lambda k: slice(0, 1)), "B": ("backward", lambda k: slice(2, 3))}  # x, y


def generate(settings: Any, seed: int) -> list[Sentence]:
    """Draw for each of V // 4 tokens x its sentences with ten y: seven train, three unseen."""
    count = settings.vocab_size // 4
    rng = np.random.default_rng([seed, settings.vocab_size])
    tokens = rng.permutation(settings.vocab_size)[: count + Y_TOKENS] + RELATIONS
    sentences = []
    for number, x in enumerate(tokens[:count]):
        for place, y in enumerate(rng.permutation(tokens[count:])):
            shown = place < TRAIN_Y_TOKENS
            pair_split, split = ("train", "train") if shown else ("validation", "unseen")
            words = sentence_tokens(x, FORWARD, y, SAME, y, BACKWARD, x)
            fact = number * Y_TOKENS + place
            sentences.append(Sentence(fact, pair_split, "backward", split, words))
    return sentences


TASK = Task(
    description="`x -> y <-> y <- x`: the fact stands in the sentence; the last token counts",
    unseen="unseen sentences",
    generate=generate,
    relations=lambda settings: RELATIONS,
    sentences=lambda settings: TRAIN_Y_TOKENS * (settings.vocab_size // 4),
    length=lambda settings: 7,
    min_vocab_size=16,
    roles=ROLES,
)
