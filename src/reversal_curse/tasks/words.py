"""Entities: alphabets, words over them, and which facts are train and which validation."""

import numpy as np

from reversal_curse.config.settings import Settings

TRAIN_FRACTION = 0.7
WORDS_PER_ALPHABET_TOKEN = 2
# The official code keeps this many facts of three-token entities, so that they can be learned.
LONG_ENTITY_CAPS = {3: (100, 50)}


def disjoint_alphabets(
    rng: np.random.Generator, vocab_size: int, count: int, relations: int
) -> list[np.ndarray]:
    """Draw `count` disjoint alphabets of `vocab_size // 4` ids; ids start after the relations."""
    size = vocab_size // 4
    return np.split(rng.permutation(vocab_size)[: count * size] + relations, count)


def word_facts(
    rng: np.random.Generator, settings: Settings, entities: int, relations: int
) -> list[tuple[int, str, tuple[np.ndarray, ...]]]:
    """Draw facts (number, `train` or `validation`, `entities` words); 70 % are train facts.

    Entities are distinct words of `entity_length` tokens over disjoint alphabets of
    `vocab_size // 4` tokens, matched at random.
    """
    length = settings.entity_length
    words = []
    for letters in disjoint_alphabets(rng, settings.vocab_size, entities, relations):
        possible = len(letters) ** length
        count = min(possible, WORDS_PER_ALPHABET_TOKEN * len(letters))
        # Words are numbers in base len(letters): the power itself is never enumerated.
        codes = rng.choice(possible, size=count, replace=False)
        powers = len(letters) ** np.arange(length)[::-1]
        words.append(letters[codes[:, None] // powers % len(letters)])
    facts = list(zip(*words, strict=True))
    order = rng.permutation(len(facts)).tolist()
    cutoff = round(len(facts) * TRAIN_FRACTION)
    train_cap, validation_cap = LONG_ENTITY_CAPS.get(length, (None, None))
    chosen = {"train": order[:cutoff][:train_cap], "validation": order[cutoff:][:validation_cap]}
    return [(fact, split, facts[fact]) for split, numbers in chosen.items() for fact in numbers]


def sentence_tokens(*parts: np.ndarray | int) -> list[int]:
    """Join the parts of a sentence, entities and relation tokens, to one list of ids."""
    return [int(token) for part in parts for token in np.atleast_1d(part)]
