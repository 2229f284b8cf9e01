"""Chain of thought with entities that share a token: `x i -> y i`, `y i -> z i`, `x i ~> z i`.

Zhu et al. 2024, appendix. The class tokens x, y, z are the same in every fact, so the class
of an answer can be guessed, and the whole word is what counts.
"""

from __future__ import annotations

import numpy as np

from reversal_curse.settings import Settings
from reversal_curse.tasks.chain import RELATIONS, triple_sentences
from reversal_curse.tasks.dataset import Sentence

CLASS_TOKENS = 3
LOGIT_GROUPS: dict = {}
ROLES = {
    "x": ("a_to_b", lambda length: slice(0, 1)),
    "y": ("b_to_c", lambda length: slice(0, 1)),
    "z": ("b_to_c", lambda length: slice(3, 4)),
    "index": ("a_to_b", lambda length: slice(1, 2)),
}


def index_tokens(vocab_size: int) -> int:
    """How many ids serve as index i: 600 of 800, as in the official code."""
    return 3 * vocab_size // 4


def validation_facts(vocab_size: int) -> int:
    """How many triples are validation triples: 50 at V = 800, as in the official code."""
    return vocab_size // 16


def generate(settings: Settings, seed: int) -> list[Sentence]:
    """`train_facts` train triples with all three sentences, then the validation triples."""
    vocab_size, train = settings.vocab_size, settings.train_facts
    rng = np.random.default_rng([seed, vocab_size, train])
    tokens = rng.permutation(vocab_size)[: CLASS_TOKENS + index_tokens(vocab_size)] + RELATIONS
    x, y, z = tokens[:CLASS_TOKENS]
    indices = tokens[CLASS_TOKENS:][: train + validation_facts(vocab_size)]
    sentences = []
    for fact, i in enumerate(indices):
        pair_split = "train" if fact < train else "validation"
        words = [np.array([token, i]) for token in (x, y, z)]
        sentences += triple_sentences(fact, *words, pair_split)
    return sentences
