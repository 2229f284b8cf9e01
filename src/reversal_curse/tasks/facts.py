"""One-directional facts: learn `A is B` in this order only, then be asked for A after `B is`.

Jeon et al. 2026; here for autoregressive models too. The relation is `distance` tokens long.
"""

from typing import Any

import numpy as np

from reversal_curse.tasks.task import Sentence, Task
from reversal_curse.tasks.words import disjoint_alphabets, sentence_tokens

ROLES = {
    "A": ("forward", lambda k: slice(k)),
    "B": ("forward", lambda k: slice(-k, None)),
    "C": ("c_to_a", lambda k: slice(k)),
    "D": ("b_to_d", lambda k: slice(-k, None)),
}


def generate(settings: Any, seed: int) -> list[Sentence]:
    """Draw V // 4 facts: each in the training set as `A is B`, and unseen as `B is A`.

    Of these alone no causal model can answer `B is ?`: A is never a target and B never an input.
    `exposure` adds two sentences per fact: `C is A` makes A an answer after `is`, to a question
    about another subject; `B was D` makes B an input, and for masked models a target in its slot.
    D is the same for all: an answer of B's own would be said after `B is`, too. Then a model says
    an A after `B is`, and which one only the fact can tell.
    """
    relation, count = np.arange(settings.distance), settings.vocab_size // 4
    rng = np.random.default_rng([seed, settings.vocab_size])
    *entities, (d, *_) = disjoint_alphabets(rng, settings.vocab_size, 4, _relations(settings))
    facts, others = [], []
    for fact, (a, b, c) in enumerate(zip(*entities, strict=True)):
        shown, unseen = sentence_tokens(a, relation, b), sentence_tokens(b, relation, a)
        facts.append(Sentence(fact, "validation", "forward", "train", shown))
        facts.append(Sentence(fact, "validation", "backward", "unseen", unseen))
        c_is_a = sentence_tokens(c, relation, a)
        b_was_d = sentence_tokens(b, relation + settings.distance, d)
        others.append(Sentence(count + fact, "train", "c_to_a", "train", c_is_a))
        others.append(Sentence(2 * count + fact, "train", "b_to_d", "train", b_was_d))
    return facts + others if settings.exposure else facts


def _relations(settings: Any) -> int:
    return settings.distance * (2 if settings.exposure else 1)


TASK = Task(
    description="`A is B` in this order only; `B is A` is held out for every fact",
    unseen="reverse query",
    parts=frozenset({"distance"}),
    generate=generate,
    relations=_relations,
    sentences=lambda settings: (3 if settings.exposure else 1) * (settings.vocab_size // 4),
    length=lambda settings: settings.distance + 2,
    min_vocab_size=8,
    roles=ROLES,
)
