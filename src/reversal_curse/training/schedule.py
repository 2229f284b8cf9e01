"""When to evaluate, and when to say so in the log."""

from __future__ import annotations

from collections.abc import Callable


def dense_epochs(epochs: int) -> frozenset[int]:
    """The first hundred epochs, then each 5 % further, and the last.

    A bound that must hold for all t is tightest early, whatever `eval_every` is.
    """
    due, epoch = {*range(min(100, epochs) + 1), epochs}, 100
    while epoch < epochs:
        due.add(epoch)
        epoch = int(epoch * 1.05)
    return frozenset(due)


def sparse_epochs(epochs: int) -> frozenset[int]:
    """Before training, after 1, 2, 4, 8, ... epochs, and after the last.

    What changes during training changes fast at first, so few looks tell it.
    """
    return frozenset({0, epochs, *(2**i for i in range((epochs - 1).bit_length()))})


PROBE_EPOCHS: dict[str, Callable[[int], frozenset[int]]] = {
    "end": lambda epochs: frozenset({epochs}),
    "dense": dense_epochs,
    "sparse": sparse_epochs,
}


class EvaluationSchedule:
    """Evaluations before training, after every `every`-th epoch, and after the last."""

    REPORTS = 10

    def __init__(self, epochs: int, every: int):
        self.epochs = epochs
        due = [*range(0, epochs, every), epochs]
        self._due = frozenset(due)
        self._reported = frozenset(due[:: max(1, len(due) // self.REPORTS)]) | {epochs}

    def due(self, epoch: int) -> bool:
        """Whether a run is evaluated after `epoch` passes over the data."""
        return epoch in self._due

    def reported(self, epoch: int) -> bool:
        """Whether the log says what was found then: about ten times in a run."""
        return epoch in self._reported
