"""AdamW on shuffled batches, for every family of transformers; all seeds are one batch.

The seeds' losses are summed, so that each seed's gradient, and AdamW's elementwise
update, are those of training it alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import torch

from reversal_curse.probes.learner import Learner
from reversal_curse.randomness import (
    Counter,
    Masks,
    dropout_factors,
    no_dropout,
    seed_generators,
    stacked_permutations,
)
from reversal_curse.training.adamw import AdamW
from reversal_curse.training.execution import Machine, execution
from reversal_curse.training.loop import Training

Inputs = tuple[Any, ...]
Prepare = Callable[[torch.Tensor], Inputs]
"""Maps the sentences (S, B, T) of a batch to what the loss needs, drawing what is random."""
Loss = Callable[..., torch.Tensor]
"""Maps those inputs and a dropout to the loss of each seed, shape (S,); draws nothing."""


def as_they_are(sentences: torch.Tensor) -> Inputs:
    """The inputs of a loss of the sentences alone."""
    return (sentences,)


def minibatches(learner: Learner, loss: Loss, prepare: Prepare = as_they_are) -> Training:
    """A run that trains the learner's model in place on the training sentences of all seeds."""
    model, settings, device = learner.model, learner.settings, learner.device
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = AdamW(trained, settings)
    seeds = learner.dataset.seeds
    order = seed_generators(seeds, "order")
    streams = {"order": order}
    if settings.dropout:
        streams["dropout"] = seed_generators(seeds, "dropout", device)
    chosen = execution(settings, Machine.of(device))
    draw = _factors(loss, streams.get("dropout"), settings.dropout)
    sentences = learner.sentences(pl.col("split") == "train")

    def total(factors: torch.Tensor | None, *inputs: Any) -> torch.Tensor:
        noise = no_dropout if factors is None else Masks(factors)
        return loss(*inputs, noise).sum()

    forward = chosen.run(total, device)

    def epoch() -> None:
        permutation = stacked_permutations(order, sentences.shape[1])
        if device.type == "cuda":  # from pinned memory the host need not wait for the copy
            permutation = permutation.pin_memory()
        permutation = permutation.to(device, non_blocking=True)
        for rows in permutation.split(settings.batch_size, dim=1):
            batch = sentences.gather(1, rows[..., None].expand(-1, -1, sentences.shape[2]))
            inputs = prepare(batch)
            loss_now = forward(draw(inputs), *inputs)
            optimizer.step(torch.autograd.grad(loss_now, optimizer.parameters))

    measure = chosen.run(learner.measure, device)
    return Training(learner, epoch, {**trained, **optimizer.state()}, streams, measure)


def _factors(
    loss: Loss, generators: list[torch.Generator] | None, rate: float
) -> Callable[[Inputs], torch.Tensor | None]:
    """Draws the dropout factors of a step; how many it needs is counted once per batch size."""
    counts: dict[torch.Size, int] = {}

    def draw(inputs: Inputs) -> torch.Tensor | None:
        if generators is None:
            return None
        shape = inputs[0].shape
        if shape not in counts:
            counter = Counter()
            with torch.no_grad():
                loss(*inputs, counter)
            counts[shape] = counter.count
        return dropout_factors(generators, counts[shape], rate)

    return draw
