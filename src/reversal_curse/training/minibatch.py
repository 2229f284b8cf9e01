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
from reversal_curse.training.observer import Observer

Loss = Callable[[torch.Tensor, Noise], torch.Tensor]
"""Maps sentences (S, B, T) and a dropout to the loss of each seed, shape (S,)."""


def train_batches(learner: Learner, loss: Loss) -> dict[str, pl.DataFrame]:
    """Train the learner's model in place on the training sentences of all seeds.

    Returns the tables of what was observed before training, on the way and at the end.
    """
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
    dropout = no_dropout
    if settings.dropout:
        dropout = Dropout(seed_generators(seeds, "dropout", device), settings.dropout)
    sentences = learner.sentences(pl.col("split") == "train")
    observer = Observer(learner)
    for epoch in range(settings.epochs + 1):
        observer.observe(epoch)
        if epoch == settings.epochs:
            break
        permutation = stacked_permutations(order, sentences.shape[1]).to(device)
        for chosen in permutation.split(settings.batch_size, dim=1):
            batch = sentences.gather(1, chosen[..., None].expand(-1, -1, sentences.shape[2]))
            optimizer.zero_grad()
            loss(batch, dropout).sum().backward()
            optimizer.step()
    return observer.tables()
