"""The masking arms of masked diffusion: which tokens of a sentence are ever masked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MaskingArm:
    """One arm."""

    label: str
    """How figures name it."""
    description: str
    chooses: Callable[[Any, Any, Any], Any] | None
    """Maps (first, last, coin) to the masked tokens: `first` and `last` are true at the tokens
    of the first and of the last entity, `coin` is one fair draw per sentence. None: every
    token with a probability t ~ U(0, 1), weighted by 1 / t."""
    masked: Callable[[int, int], int] | None = None
    """How many tokens it masks of a sentence of so many tokens with entities of so many; None
    where that varies."""


MASKINGS = {
    "any_order": MaskingArm(
        "any order",
        "every token with probability t ~ U(0, 1), its loss weighted by 1 / t",
        None,
    ),
    "subject": MaskingArm(
        "A", "the first entity", lambda first, last, coin: first, lambda length, entity: entity
    ),
    "object": MaskingArm(
        "B", "the last entity", lambda first, last, coin: last, lambda length, entity: entity
    ),
    "either": MaskingArm(
        "A or B",
        "the first or the last entity, by a coin",
        lambda first, last, coin: (coin & first) | (~coin & last),
        lambda length, entity: entity,
    ),
    "both": MaskingArm(
        "A and B",
        "both entities together",
        lambda first, last, coin: first | last,
        lambda length, entity: 2 * entity,
    ),
    "relation": MaskingArm(
        "relation",
        "what stands between the entities",
        lambda first, last, coin: ~(first | last),
        lambda length, entity: length - 2 * entity,
    ),
}
