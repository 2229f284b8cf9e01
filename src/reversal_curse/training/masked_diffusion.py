"""Train the seeds of a `masked_diffusion` grid point. Jeon et al. 2026.

Objective: t ~ U(0, 1), every token masked with probability t, cross-entropy on the masked
tokens weighted by 1 / t. Other masking arms (`registry/maskings.py`) ever mask only some of
the tokens, and say whether the objective or the architecture lets a model answer in reverse.
"""

from __future__ import annotations

from typing import Any

import torch

from reversal_curse.models.likelihood import answer_nll
from reversal_curse.models.transformer import Asked, Noise, Transformer
from reversal_curse.probes.learner import Learner
from reversal_curse.randomness import seed_generators, stacked_uniform
from reversal_curse.registry import MASKINGS, TASKS
from reversal_curse.settings import Settings
from reversal_curse.tasks.dataset import Dataset
from reversal_curse.training.loop import Training
from reversal_curse.training.minibatch import Inputs, minibatches


def mask_token(settings: Settings) -> int:
    """Id of [M]: it comes after the relations and the entities."""
    return TASKS[settings.task].vocabulary(settings)


def build_model(settings: Settings, dataset: Dataset, device: torch.device) -> Transformer:
    """The untrained encoders of all seeds; drawn on the CPU, so alike on every device."""
    generators = seed_generators(dataset.seeds, "init")
    vocabulary = mask_token(settings) + 1
    return Transformer(settings, vocabulary, dataset.length, generators, causal=False).to(device)


class Masking:
    """Which tokens of a batch are masked, and how their losses are weighted.

    Calling it with sentences (S, B, T) returns `masked` (S, B, T), bool, `weights` (S, B, T):
    the loss of a sentence is the sum of weight times -ln p over its tokens; and `asked`, which
    tokens those with a weight are among: all, or positions (S, B, n) where every sentence has n.
    """

    def __init__(self, arm: str, entity_length: int, generators: list[torch.Generator]):
        self.chooses = MASKINGS[arm].chooses
        self.entity_length = entity_length
        self.generators = generators
        self.sides: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # by length of sentences

    def __call__(self, sentences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Asked]:
        length = sentences.shape[-1]
        rate = stacked_uniform(self.generators, (sentences.shape[1], 1))
        if self.chooses is None:
            rate = 1 - rate  # from (0, 1]: 1 / t stays finite
            masked = stacked_uniform(self.generators, sentences.shape[1:]) < rate
            return masked, masked / (rate * length), length
        position = torch.arange(length, device=sentences.device)
        first, last = position < self.entity_length, position >= length - self.entity_length
        coin = rate < 0.5
        masked = self.chooses(first, last, coin).expand(sentences.shape)
        weights = masked / masked.sum(-1, keepdim=True)
        if length not in self.sides:
            self.sides[length] = self._sides(length, sentences.device)
        heads, tails = self.sides[length]
        if len(heads) != len(tails):
            return masked, weights, length
        return masked, weights, torch.where(coin, heads, tails)

    def _sides(self, length: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the masked tokens stand, by the side on which the coin falls."""
        position = torch.arange(length)
        first, last = position < self.entity_length, position >= length - self.entity_length
        heads, tails = (
            self.chooses(first, last, torch.tensor(coin)).nonzero().flatten().to(device)
            for coin in (True, False)
        )
        return heads, tails


def diffusion_loss(
    model: Transformer,
    sentences: torch.Tensor,
    hidden: torch.Tensor,
    weights: torch.Tensor,
    asked: Asked,
    dropout: Noise,
) -> torch.Tensor:
    """The loss of each seed (S,) with the tokens of `hidden` shown for those of `sentences`.

    Both are of shape (S, B, T), as are `weights`, which are 0 at tokens that are not `asked`.
    Nats per token for the any-order arm.
    """
    logits = model(hidden, asked, dropout)
    if not isinstance(asked, int):
        sentences, weights = sentences.gather(-1, asked), weights.gather(-1, asked)
    return (weights * answer_nll(logits, sentences)).sum(-1).mean(1)


def start(settings: Settings, dataset: Dataset, device: torch.device) -> Training:
    """The untrained run of every seed of a grid point.

    An answer is asked for by masking its tokens, at the end of the sentence, all at once:
    `A is [M]` on the training sentences, `B is [M]` on the unseen ones.
    """
    model = build_model(settings, dataset, device)
    mask = mask_token(settings)
    answer = TASKS[settings.task].answer_length(settings)
    noise = seed_generators(dataset.seeds, "masking", device)
    masking = Masking(settings.masking, settings.entity_length, noise)

    def prepare(sentences: torch.Tensor) -> Inputs:
        masked, weights, asked = masking(sentences)
        return sentences, sentences.masked_fill(masked, mask), weights, asked

    def loss(*inputs: Any) -> torch.Tensor:
        return diffusion_loss(model, *inputs)

    def ask(sentences: torch.Tensor) -> torch.Tensor:
        query = sentences.clone()
        query[:, :, -answer:].fill_(mask)
        # [M] is no answer: the distribution is over the words of the language.
        return model(query, answer)[..., :mask]

    training = minibatches(Learner(settings, dataset, device, model, ask, mask), loss, prepare)
    training.generators["masking"] = noise
    return training
