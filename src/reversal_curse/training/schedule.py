"""When to evaluate and probe a run, and when to say so in the log."""


class EvaluationSchedule:
    """Evaluations before training, after every `every`-th epoch, and after the last."""

    def __init__(self, epochs: int, every: int):
        due = [*range(0, epochs, every), epochs]
        self._due = frozenset(due)
        self._reported = frozenset(due[:: max(1, len(due) // 10)]) | {epochs}

    def due(self, epoch: int) -> bool:
        """Whether a run is evaluated after `epoch` passes over the data."""
        return epoch in self._due

    def reported(self, epoch: int) -> bool:
        """Whether the log says what was found then: about ten times in a run."""
        return epoch in self._reported


def probe_epochs(when: str, epochs: int) -> frozenset[int]:
    """The epochs after which a probe looks: the last, and those of `when`.

    `dense`: the first hundred, then each 5 % further; a bound that must hold for all t is tightest
    early. `sparse`: 0, 1, 2, 4, 8, ...; what changes during training changes fast at first.
    """
    due = {epochs}
    if when == "dense":
        due.update(range(min(100, epochs) + 1))
        epoch = 100
        while epoch < epochs:
            due.add(epoch)
            epoch = int(epoch * 1.05)
    elif when == "sparse":
        due.update([0], (2**i for i in range((epochs - 1).bit_length())))
    return frozenset(due)
