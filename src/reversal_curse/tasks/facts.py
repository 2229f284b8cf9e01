"""One-directional facts: learn `A is B` in this order only, be asked A after `B is`.

Jeon et al. 2026; here for autoregressive models too. The relation is `distance` tokens long.
"""

import numpy as np

from reversal_curse.config.settings import Settings
from reversal_curse.tasks.dataset import Sentence
from reversal_curse.tasks.words import disjoint_alphabets, sentence_tokens

LOGIT_GROUPS: dict = {}
ROLES = {"A": ("forward", lambda k: slice(k)), "B": ("forward", lambda k: slice(-k, None))}


def generate(settings: Settings, seed: int) -> list[Sentence]:
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
