"""AdamW on shuffled batches, for every family of transformers; all seeds are one batch.

The seeds' losses are summed, so that each seed's gradient, and AdamW's elementwise
update, are those of training it alone.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import torch

from reversal_curse.models.transformer import Noise
from reversal_curse.probes.learner import Learner
from reversal_curse.randomness import Dropout, no_dropout, seed_generators, stacked_permutations
from reversal_curse.training.loop import Training

Loss = Callable[[torch.Tensor, Noise], torch.Tensor]
"""Maps sentences (S, B, T) and a dropout to the loss of each seed, shape (S,)."""


def minibatches(learner: Learner, loss: Loss) -> Training:
    """A run that trains the learner's model in place on the training sentences of all seeds."""
    model, settings, device = learner.model, learner.settings, learner.device
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
        fused=True,
    )
    seeds = learner.dataset.seeds
    order = seed_generators(seeds, "order")
    streams = {"order": order}
    dropout = no_dropout
    if settings.dropout:
        streams["dropout"] = seed_generators(seeds, "dropout", device)
        dropout = Dropout(streams["dropout"], settings.dropout)
    sentences = learner.sentences(pl.col("split") == "train")

    def epoch() -> None:
        permutation = stacked_permutations(order, sentences.shape[1]).to(device)
        for chosen in permutation.split(settings.batch_size, dim=1):
            batch = sentences.gather(1, chosen[..., None].expand(-1, -1, sentences.shape[2]))
            optimizer.zero_grad()
            loss(batch, dropout).sum().backward()
            optimizer.step()

    return Training(learner, epoch, dict(model.named_parameters()), streams, optimizer)
