"""Relational graphs: families whose inverse facts follow from their other facts.

Kim et al. 2026, arXiv 2509.21993. A family has ten people: a couple, their son and daughter, the
spouses of these, and a son and a daughter of each of the two. Its three couples with their children
make 36 facts in eight relations, `x r y`: the r of x is y. Half of the families are trained on all
of them, the others without `father` and `mother`, which follow from `son` and `daughter` (and from
each other, by `husband` and `wife`) and are asked for. In the source a document holds the facts of
a family in random order, names have several tokens, and models have 206 million parameters.
"""

from typing import Any

import numpy as np

from reversal_curse.tasks.task import Sentence, Task
from reversal_curse.tasks.words import sentence_tokens

HUSBAND, WIFE, FATHER, MOTHER, SON, DAUGHTER, BROTHER, SISTER = range(8)
RELATIONS = 8
PEOPLE = 10
COUPLES = ((0, 1, 2, 3), (2, 4, 6, 7), (5, 3, 8, 9))
"""Husband, wife, son and daughter, by place in the family."""
WITHHELD = (FATHER, MOTHER)
FACTS, UNSEEN = 36, 12
"""Facts of a family, and how many of them are withheld in half of the families."""
NAMES = ("husband", "wife", "father", "mother", "son", "daughter", "brother", "sister")


def generate(settings: Any, seed: int) -> list[Sentence]:
    """Draw V // 10 families: first those with all facts, then those that lack some."""
    rng = np.random.default_rng([seed, settings.vocab_size])
    families = _families(settings)
    people = rng.permutation(settings.vocab_size)[: families * PEOPLE] + RELATIONS
    sentences = []
    for family, names in enumerate(people.reshape(families, PEOPLE)):
        whole = family < families - families // 2
        for place, (x, relation, y) in enumerate(_facts()):
            unseen = not whole and relation in WITHHELD
            splits = ("validation", "unseen") if unseen else ("train", "train")
            tokens = sentence_tokens(names[x], relation, names[y])
            fact = family * FACTS + place
            sentences.append(Sentence(fact, splits[0], NAMES[relation], splits[1], tokens))
    return sentences


def _facts() -> list[tuple[int, int, int]]:
    facts = []
    for man, woman, son, daughter in COUPLES:
        facts += [(woman, HUSBAND, man), (man, WIFE, woman)]
        for child in (son, daughter):
            facts += [(child, FATHER, man), (child, MOTHER, woman)]
        for parent in (man, woman):
            facts += [(parent, SON, son), (parent, DAUGHTER, daughter)]
        facts += [(daughter, BROTHER, son), (son, SISTER, daughter)]
    return facts


def _families(settings: Any) -> int:
    return settings.vocab_size // PEOPLE


TASK = Task(
    description="families of ten: `father` and `mother` of half of them follow from other facts",
    unseen="inverse that follows",
    generate=generate,
    relations=lambda settings: RELATIONS,
    class_size=lambda settings: settings.vocab_size,
    sentences=lambda s: FACTS * _families(s) - UNSEEN * (_families(s) // 2),
    min_vocab_size=2 * PEOPLE,
)
