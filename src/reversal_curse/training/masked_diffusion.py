"""Train the seeds of a `masked_diffusion` grid point. Jeon et al. 2026.

Objective: t ~ U(0, 1), every token masked with probability t, cross-entropy on the masked
tokens weighted by 1 / t. Other masking arms (`tasks/masking_arms.py`) mask only some of the
tokens: they tell whether the objective or the architecture lets a model answer in reverse.
"""

from functools import partial
from typing import Any

import torch

from reversal_curse.config.settings import Settings
from reversal_curse.models.learner import Learner
from reversal_curse.models.likelihood import answer_nll
from reversal_curse.models.random_streams import Streams, seed_generators, stacked_uniform
from reversal_curse.models.transformer import Asked, Noise, Transformer
from reversal_curse.tables.dataset import Dataset
from reversal_curse.tasks import TASKS
from reversal_curse.tasks.masking_arms import MASKINGS
from reversal_curse.training.loop import Training
from reversal_curse.training.masking import masked_tokens
from reversal_curse.training.minibatches import minibatches


def mask_token(settings: Settings) -> int:
    """Return the id of [M], which follows the ids of relations and entities."""
    return TASKS[settings.task].vocabulary(settings)


def build_model(settings: Settings, dataset: Dataset, device: torch.device) -> Transformer:
    """Draw the encoders of all seeds on the CPU, so that they are the same on every device."""
    generators = seed_generators(dataset.seeds, "init")
    vocabulary = mask_token(settings) + 1
    return Transformer(settings, vocabulary, dataset.length, generators, causal=False).to(device)


class Masking:
    """Draws which tokens of sentences (S, B, T) are masked.

    Returns `masked` (S, B, T), bool; `weights` (S, B, T) of the tokens' -ln p in the loss of their
    sentence; and `asked`, the tokens that can have a weight: the last n (an int), or those at
    positions (S, B, n).
    """

    def __init__(self, settings: Settings, generators: Streams):
        self.settings = settings
        self.chooses: Any = MASKINGS[settings.masking].chooses
        self.entity_length = settings.entity_length
        self.generators = generators
        self.sides: list[torch.Tensor] = []  # masked positions for each side of the coin

    def __call__(self, sentences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Asked]:
        length = sentences.shape[-1]
        if self.chooses is None:
            masked, rate = masked_tokens(self.settings, sentences, self.generators)
            return masked, masked / (rate * length), length
        rate = stacked_uniform(self.generators, (sentences.shape[1], 1))
        coin = rate < 0.5
        masked = self._chosen(length, coin).expand(sentences.shape)
        weights = masked / masked.sum(-1, keepdim=True)
        if not self.sides:  # found on the CPU: on a GPU the host would wait for them
            sides = (self._chosen(length, torch.tensor(side)) for side in (True, False))
            self.sides = [side.nonzero().flatten().to(sentences.device) for side in sides]
        heads, tails = self.sides
        asked = torch.where(coin, heads, tails) if len(heads) == len(tails) else length
        return masked, weights, asked

    def _chosen(self, length: int, coin: torch.Tensor) -> torch.Tensor:
        position = torch.arange(length, device=coin.device)
        return self.chooses(
            position < self.entity_length, position >= length - self.entity_length, coin
        )


def diffusion_loss(
    model: Transformer,
    sentences: torch.Tensor,
    hidden: torch.Tensor,
    weights: torch.Tensor,
    asked: Asked,
    dropout: Noise,
) -> torch.Tensor:
    """Compute the loss (S,) of sentences (S, B, T), given `hidden`, their masked copies."""
    logits = model(hidden, asked, dropout)
    if not isinstance(asked, int):
        sentences, weights = sentences.gather(-1, asked), weights.gather(-1, asked)
    return (weights * answer_nll(logits, sentences)).sum(-1).mean(1)


def start(settings: Settings, dataset: Dataset, device: torch.device) -> Training:
    """Start an untrained run; to ask for an answer, all its tokens are masked at once."""
    model = build_model(settings, dataset, device)
    mask = mask_token(settings)
    answer = TASKS[settings.task].answer_length(settings)
    noise = seed_generators(dataset.seeds, "masking", device)
    masking = Masking(settings, noise)

    def prepare(sentences: torch.Tensor) -> tuple[Any, ...]:
        masked, weights, asked = masking(sentences)
        return sentences, sentences.masked_fill(masked, mask), weights, asked

    def ask(sentences: torch.Tensor) -> torch.Tensor:
        query = sentences.clone()
        query[:, :, -answer:].fill_(mask)
        # [M] cannot be an answer: the distribution is over the words of the language.
        return model(query, answer)[..., :mask]

    learner = Learner(settings, dataset, device, model, ask, mask)
    training = minibatches(learner, partial(diffusion_loss, model), prepare)
    training.generators["masking"] = noise
    return training
