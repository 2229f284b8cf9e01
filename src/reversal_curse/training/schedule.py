"""When to evaluate and probe a run."""


def evaluation_epochs(epochs: int, every: int) -> list[int]:
    """List the epochs to evaluate after: 0, every `every`-th, and the last."""
    return [*range(0, epochs, every), epochs]


def probe_epochs(when: str, epochs: int) -> frozenset[int]:
    """List the epochs to probe after: the last, and those of `when`.

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
