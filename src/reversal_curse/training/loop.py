"""The loop over epochs, for every family: observe, train, and save checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import torch

from reversal_curse.config.settings import Settings
from reversal_curse.families import FAMILIES
from reversal_curse.models.learner import Learner
from reversal_curse.tables.dataset import Dataset
from reversal_curse.training.checkpoints import Checkpoints
from reversal_curse.training.interruption import Interruption
from reversal_curse.training.memory import free_bytes, release_memory, seed_groups
from reversal_curse.training.observer import Observer


@dataclass
class Training:
    """The training of some seeds, with everything that the next epoch depends on."""

    learner: Learner
    epoch: Callable[[], None]
    """One pass over the training set."""
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    """The tensors that an epoch changes in place."""
    generators: dict[str, list[torch.Generator]] = field(default_factory=dict)
    """The random streams that an epoch draws from: one generator per seed in each."""
    measure: Callable[..., torch.Tensor] | None = None
    """What evaluation calls in place of the learner's `measure`."""

    def state(self) -> dict[str, Any]:
        """Return tensors, numbers and names only: reading them back runs no code."""
        return {
            "tensors": {name: tensor.detach() for name, tensor in self.tensors.items()},
            "generators": {
                name: [generator.get_state() for generator in streams]
                for name, streams in self.generators.items()
            },
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Return to a state of the same run."""
        for name, tensor in self.tensors.items():
            tensor.copy_(state["tensors"][name])
        for name, streams in self.generators.items():
            for generator, kept in zip(streams, state["generators"][name], strict=True):
                generator.set_state(kept.cpu())


def train(
    settings: Settings,
    dataset: Dataset,
    device: torch.device,
    checkpoints: Checkpoints | None = None,
    interruption: Interruption | None = None,
    keep_last: bool = False,
    tell: Callable[[int, Callable[[], float]], None] | None = None,
) -> dict[str, pl.DataFrame]:
    """Train every seed of a grid point, from the newest checkpoint on; returns the tables.

    `keep_last` saves a checkpoint after the last epoch too. `tell` is called after each epoch, with
    a function that returns the loss on the training set when it was last evaluated. Raises
    UserError if one seed alone does not fit into memory, and Interrupted, after an epoch, if
    `interruption` asks to stop.
    """
    groups = seed_groups(settings, dataset.seeds, free_bytes(device))
    if len(groups) > 1:
        sizes = f"{len(groups)} groups of up to {len(groups[0])}"
        print(f"seeds in {sizes}, as memory allows", flush=True)
        parts = []
        for group in groups:  # the tables do not depend on the groups
            part = dataset.of_seeds(group)
            kept = checkpoints and checkpoints.below(f"seeds_{group[0]}_{group[-1]}")
            parts.append(train(settings, part, device, kept, interruption, True, tell))
            release_memory()
        return {name: pl.concat([tables[name] for tables in parts]) for name in parts[0]}
    training = FAMILIES[settings.family].load_start()(settings, dataset, device)
    observer = Observer(training.learner, training.measure or training.learner.measure)
    epoch = 0
    found = checkpoints.newest(device) if checkpoints else None
    if found:
        epoch = found["epoch"]
        training.restore(found["training"])
        observer.restore(found["observer"])
        del found  # it is as large as the weights and both moments
        print(f"going on after epoch {epoch} of {settings.epochs}", flush=True)
    while True:
        observer.observe(epoch)
        if tell:
            tell(epoch, lambda: observer.means[-1][0, 0].mean().item())
        if epoch == settings.epochs:
            return observer.tables()
        training.epoch()
        epoch += 1
        stop = interruption.reason() if interruption else None
        last = keep_last and epoch == settings.epochs
        if checkpoints and (stop or last or checkpoints.due()):
            reached = {"epoch": epoch, "training": training.state(), "observer": observer.state()}
            checkpoints.save(epoch, reached)
        if interruption and stop:
            raise interruption.error(stop, epoch, settings.epochs, saved=checkpoints is not None)
