"""One-directional facts: learn `A is B` in this order only, be asked A after `B is`.

The task of the masked-diffusion experiments (Jeon et al. 2026) and of the autoregressive
models beside them. `distance` tokens apart: the relation is spelt in `distance` tokens.
"""

from __future__ import annotations

import numpy as np

from reversal_curse.settings import Settings
from reversal_curse.tasks.dataset import Sentence
from reversal_curse.tasks.words import (
    disjoint_alphabets,
    first_entity,
    last_entity,
    sentence_tokens,
)

LOGIT_GROUPS: dict = {}
ROLES = {"A": ("forward", first_entity), "B": ("forward", last_entity)}


def generate(settings: Settings, seed: int) -> list[Sentence]:
    """V // 4 facts: each in the training set as `A is B`, and unseen as `B is A`."""
    relation = np.arange(settings.distance)
    rng = np.random.default_rng([seed, settings.vocab_size])
    subjects, objects = disjoint_alphabets(rng, settings.vocab_size, 2, settings.distance)
    sentences = []
    for fact, (a, b) in enumerate(zip(subjects, objects, strict=True)):
        for direction, split, parts in (
            ("forward", "train", (a, relation, b)),
            ("backward", "unseen", (b, relation, a)),
        ):
            words = sentence_tokens(*parts)
            sentences.append(Sentence(fact, "validation", direction, split, words))
    return sentences
