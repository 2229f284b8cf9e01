"""Which tokens are masked when any may be."""

import torch

from reversal_curse.config.settings import Settings
from reversal_curse.models.random_streams import Streams, stacked_uniform
from reversal_curse.tasks import TASKS


def masked_tokens(
    settings: Settings, sentences: torch.Tensor, generators: Streams
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw which tokens of sentences (S, B, T) are masked, each with the rate (S, B, 1) returned.

    The rate is t ~ U(0, 1], or always 15 %: Kitouni et al. 2024, arXiv 2406.05183, compare both.
    With `mask_entities` tokens of an entity share their draw (DiffER, arXiv 2601.07347, masks all
    of an entity if one of its tokens is: longer ones more often).
    """
    batch, length = sentences.shape[1:]
    if settings.mask_rate == "uniform":
        rate = 1 - stacked_uniform(generators, (batch, 1))  # from (0, 1]: 1 / t stays finite
    else:
        rate = sentences.new_full((len(sentences), batch, 1), 0.15, dtype=torch.float32)
    draws = stacked_uniform(generators, (batch, length))
    if settings.mask_entities:
        named = sentences >= TASKS[settings.task].relations(settings)  # wherever entities stand
        place = torch.arange(length, device=sentences.device)
        within = (named.cumsum(-1) - 1) % settings.entity_length
        draws = draws.gather(-1, torch.where(named, place - within, place))
    return draws < rate, rate
