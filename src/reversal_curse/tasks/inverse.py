"""Inverse relations: learn `A r B`, then be asked `B r' A`: the bench of remedies.

Without a remedy it is the setting of Zhu et al. 2024, section 5: some facts are trained both ways,
which teaches what r' means, the others in one order only. Another relation s has no inverse: a
model that answers `C r' ?` with A, given `A s C`, inverts what it should not.

The remedies here are sentences that are added to the training set:

* `bridge` (Ma et al. 2026, arXiv 2602.02470, "identity bridge"): `A r r' A` (the r' of the r of A
  is A) with `B = B` is the source's bridge, `full`; `names`, `A = A` with `B = B`, is its naive
  control. The parts stand alone too. `forward_copies` weights the facts against them: the source
  gives their loss six times the weight, here sentences are repeated.
* `reversal` (Golovneva et al. 2024, arXiv 2403.13799, "reverse training"): the sentences of a share
  of the facts once more, reversed token by token or with each entity kept whole, after a marker or
  without. `permutation` (Guo et al. 2024, arXiv 2403.00758) puts entities and relation in a random
  order, drawn once for each sentence; the source draws it anew in each epoch.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from reversal_curse.tasks.task import SPLITS, Sentence, Task
from reversal_curse.tasks.words import draw_words, fact_counts, sentence_tokens

FORWARD, BACKWARD, OTHER, NAME, MARKER, PAD = range(6)
RELATIONS = 6
IDENTITIES = {"none": 0, "subjects": 1, "objects": 2, "names": 3, "composed": 1, "full": 3}
"""How many sentences a bridge adds for each fact."""
ROLES = {
    "A": ("forward", lambda k: slice(-2 * k - 1, -k - 1)),
    "B": ("forward", lambda k: slice(-k, None)),
    "C": ("other", lambda k: slice(-k, None)),
}
Parts = tuple[np.ndarray | int, ...]


def generate(settings: Any, seed: int) -> list[Sentence]:
    """Draw the sentences of one seed; the facts do not depend on remedies, nor on `two_way`."""
    key = [seed, settings.vocab_size, settings.entity_length]
    two_way, one_way = _counts(settings)
    words = draw_words(np.random.default_rng(key), settings, 3, RELATIONS)
    facts = list(zip(*words, strict=True))[: two_way + one_way]
    order = np.random.default_rng([*key, 1])
    rows: list[tuple[Any, ...]] = []
    for fact, (a, b, c) in enumerate(facts):
        own, other = ("train" if fact < two_way else "validation"), len(facts) + fact
        forward, backward, no_inverse = (a, FORWARD, b), (b, BACKWARD, a), (a, OTHER, c)
        rows += [(fact, own, "forward", "train", forward)] * settings.forward_copies
        rows.append((other, "train", "other", "train", no_inverse))
        shown = [forward, no_inverse]
        if own == "train":
            rows.append((fact, own, "backward", "train", backward))
            shown.append(backward)
        else:
            rows.append((fact, own, "backward", "unseen", backward))
            rows.append((other, "train", "no_inverse", "wrong", (c, BACKWARD, a)))
        added = list(_identities(settings.bridge, a, b, c))
        if _is_reversed(settings, fact):
            added += [_turned(settings, parts, order) for parts in shown]
        rows += [(fact, "train", "added", "train", parts) for parts in added]
    return [Sentence(*row, _spelt(settings, parts)) for *row, parts in rows]


def _identities(bridge: str, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Iterator[Parts]:
    if bridge in ("subjects", "names"):
        yield a, NAME, a
    if bridge in ("objects", "names", "full"):
        yield b, NAME, b
        yield c, NAME, c
    if bridge in ("composed", "full"):
        yield a, FORWARD, BACKWARD, a


def _turned(settings: Any, parts: Parts, order: np.random.Generator) -> Parts:
    places = order.permutation(3) if settings.reversal == "permutation" else (2, 1, 0)
    turned = tuple(parts[place] for place in places)
    if settings.reversal == "token":
        turned = tuple(np.atleast_1d(part)[::-1] for part in turned)
    return (MARKER, *turned) if settings.reversal_marker else turned


def _spelt(settings: Any, parts: Parts) -> list[int]:
    tokens = sentence_tokens(*parts)
    return [PAD] * (_length(settings) - len(tokens)) + tokens


def _counts(settings: Any) -> tuple[int, int]:
    """Count the facts that are trained both ways, and the others, of which there is at least one.

    Three-token entities have as few facts as in the other tasks.
    """
    facts = sum(fact_counts(settings))
    two_way = min(round(settings.two_way * facts), facts - 1)
    return two_way, facts - two_way


def _reversed_counts(settings: Any) -> list[int]:
    """Count the facts of each kind that are trained in reverse."""
    share = 0.0 if settings.reversal == "none" else settings.reversal_share
    return [round(share * count) for count in _counts(settings)]


def _is_reversed(settings: Any, fact: int) -> bool:
    (two_way, _), turned = _counts(settings), _reversed_counts(settings)
    return fact < turned[0] if fact < two_way else fact - two_way < turned[1]


def _uneven(settings: Any) -> bool:
    return settings.bridge in ("composed", "full") or settings.reversal_marker


def _length(settings: Any) -> int:
    return 2 * settings.entity_length + 1 + _uneven(settings)


def _sentences(settings: Any) -> int:
    (two_way, one_way), turned = _counts(settings), _reversed_counts(settings)
    each = settings.forward_copies + 1 + IDENTITIES[settings.bridge]
    return (each + 1) * two_way + each * one_way + 3 * turned[0] + 2 * turned[1]


TASK = Task(
    description="`A r B` and, for a part of the facts, `B r' A`, which is held out for the others",
    unseen="inverse, B r' ?",
    parts=frozenset({"words", "remedies", "bridge", "marker"}),
    generate=generate,
    relations=lambda settings: RELATIONS,
    sentences=_sentences,
    length=_length,
    pad=lambda settings: PAD if _uneven(settings) else None,
    min_vocab_size=16,
    splits={
        **SPLITS,
        "forward": (pl.col("split") == "train")
        & (pl.col("direction") == "forward")
        & (pl.col("pair_split") == "validation"),
        "wrong": pl.col("split") == "wrong",
    },
    roles=ROLES,
)
