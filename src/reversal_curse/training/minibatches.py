"""Steps on shuffled batches, for families of transformers; all seeds train together.

The losses of the seeds are summed, so that each seed's gradient is the same as if it were trained
alone.
"""

from collections.abc import Callable
from typing import Any

import polars as pl
import torch

from reversal_curse.models import random_streams
from reversal_curse.models.learner import Learner
from reversal_curse.training.execution import chosen_execution
from reversal_curse.training.loop import Training
from reversal_curse.training.optimizers import start


def minibatches(
    learner: Learner,
    loss: Callable[..., torch.Tensor],
    prepare: Callable[[torch.Tensor], tuple[Any, ...]] | None = None,
) -> Training:
    """Start a run that trains the learner's model in place on the training sentences.

    `prepare` maps the sentences (S, B, T) of a batch to the inputs of the loss, drawing what is
    random; by default the sentences are the inputs. `loss` maps inputs and dropout to losses (S,).
    """
    model, settings, device = learner.model, learner.settings, learner.device
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    parameters = list(trained.values())
    update, state = start(settings, trained)
    streams = {"order": random_streams.seed_generators(learner.dataset.seeds, "order")}
    if settings.dropout:
        streams["dropout"] = random_streams.seed_generators(
            learner.dataset.seeds, "dropout", device
        )
    sentences = learner.sentences(pl.col("split") == "train")
    counts: dict[torch.Size, int] = {}  # number of dropout factors, by the batch's shape

    def total(factors: torch.Tensor | None, *inputs: Any) -> torch.Tensor:
        noise = random_streams.no_dropout if factors is None else random_streams.Masks(factors)
        return loss(*inputs, noise).sum()

    chosen = chosen_execution(settings, device)
    gradients = chosen.run(total, device, lambda loss: torch.autograd.grad(loss, parameters))

    def draw_factors(inputs: tuple[Any, ...]) -> torch.Tensor | None:
        if not settings.dropout:
            return None
        shape = inputs[0].shape
        if shape not in counts:
            counter = random_streams.Masks()
            with torch.no_grad():
                loss(*inputs, counter)
            counts[shape] = counter.used
        return random_streams.dropout_factors(streams["dropout"], counts[shape], settings.dropout)

    def epoch() -> None:
        permutation = random_streams.stacked_permutations(streams["order"], sentences.shape[1])
        if device.type == "cuda":  # from pinned memory: the host does not wait for the copy
            permutation = permutation.pin_memory()
        permutation = permutation.to(device, non_blocking=True)
        for rows in permutation.split(settings.batch_size, dim=1):
            batch = sentences.gather(1, rows[..., None].expand(-1, -1, sentences.shape[2]))
            inputs = prepare(batch) if prepare else (batch,)
            update(gradients(draw_factors(inputs), *inputs))

    return Training(
        learner, epoch, {**trained, **state}, streams, chosen.run(learner.measure, device)
    )
