"""The masking arms of masked diffusion: which tokens of a sentence can be masked."""

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
    """Maps (first, last, coin) to the masked tokens: `first` and `last` are true at the tokens of
    the first and the last entity, `coin` is a fair draw per sentence. None: each token is masked
    with probability t ~ U(0, 1), its loss weighted by 1 / t."""
    masked: Callable[[int, int], int] | None = None
    """Number of tokens masked, given the lengths of sentence and entity; None if it varies."""


_ANY_ORDER = "every token with probability t ~ U(0, 1), its loss weighted by 1 / t"
_EITHER, _BETWEEN = "the first or the last entity, by a coin", "what stands between the entities"
MASKINGS = {
    "any_order": MaskingArm("any order", _ANY_ORDER, None),
    "subject": MaskingArm("A", "the first entity", lambda a, b, coin: a, lambda n, k: k),
    "object": MaskingArm("B", "the last entity", lambda a, b, coin: b, lambda n, k: k),
    "either": MaskingArm(
        "A or B", _EITHER, lambda a, b, coin: (coin & a) | (~coin & b), lambda n, k: k
    ),
    "both": MaskingArm(
        "A and B", "both entities together", lambda a, b, coin: a | b, lambda n, k: 2 * k
    ),
    "relation": MaskingArm(
        "relation", _BETWEEN, lambda a, b, coin: ~(a | b), lambda n, k: n - 2 * k
    ),
}
