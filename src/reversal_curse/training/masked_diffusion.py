"""Train the seeds of a `masked_diffusion` grid point. Jeon et al. 2026.

Objective: t ~ U(0, 1), every token masked with probability t, cross-entropy on the masked
tokens weighted by 1 / t. Other masking arms ever mask only some of the tokens, and say
whether the objective or the architecture lets a model answer in reverse.
"""

from __future__ import annotations

import polars as pl
import torch

from reversal_curse.models.transformer import Noise, Transformer
from reversal_curse.probes.embeddings import embedding_table
from reversal_curse.randomness import seed_generators, stacked_uniform
from reversal_curse.registry import TASKS
from reversal_curse.settings import Settings
from reversal_curse.tasks.dataset import Dataset
from reversal_curse.training.metrics import MetricsRecorder, answer_nll
from reversal_curse.training.minibatch import split_tensors, train_batches


def mask_token(settings: Settings) -> int:
    """Id of [M]: it comes after the relations and the entities."""
    return settings.vocab_size + TASKS[settings.task].relations(settings)


def build_model(settings: Settings, dataset: Dataset, device: torch.device) -> Transformer:
    """The untrained encoders of all seeds; drawn on the CPU, so alike on every device."""
    generators = seed_generators(dataset.seeds, "init")
    vocabulary = mask_token(settings) + 1
    return Transformer(settings, vocabulary, dataset.length, generators, causal=False).to(device)


class Masking:
    """Which tokens of a batch are masked, and how their losses are weighted.

    Calling it with sentences (S, B, T) returns `masked` (S, B, T), bool, and `weights`
    (S, B, T): the loss of a sentence is the sum of weight times -ln p over its tokens.
    """

    def __init__(self, arm: str, entity_length: int, generators: list[torch.Generator]):
        self.arm = arm
        self.entity_length = entity_length
        self.generators = generators

    def __call__(self, sentences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        length = sentences.shape[-1]
        rate = stacked_uniform(self.generators, (sentences.shape[1], 1))
        if self.arm == "any_order":
            rate = 1 - rate  # from (0, 1]: 1 / t stays finite
            masked = stacked_uniform(self.generators, sentences.shape[1:]) < rate
            return masked, masked / (rate * length)
        position = torch.arange(length, device=sentences.device)
        subject = position < self.entity_length
        object_ = position >= length - self.entity_length
        relation = ~(subject | object_)
        chosen = {
            "subject": subject,
            "object": object_,
            "both": subject | object_,
            "relation": relation,
            "either": torch.where(rate < 0.5, subject, object_),
        }[self.arm]
        masked = chosen.expand(sentences.shape)
        return masked, masked / masked.sum(-1, keepdim=True)


def diffusion_loss(
    model: Transformer, sentences: torch.Tensor, masking: Masking, mask: int, dropout: Noise
) -> torch.Tensor:
    """One draw of the loss of each seed (S,): nats per token for the any-order arm."""
    masked, weights = masking(sentences)
    logits = model(sentences.masked_fill(masked, mask), sentences.shape[-1], dropout)
    return (weights * answer_nll(logits, sentences)).sum(-1).mean(1)


def train(settings: Settings, dataset: Dataset, device: torch.device) -> dict[str, pl.DataFrame]:
    """Train every seed; returns the tables `metrics` and `embeddings`.

    An answer is asked for by masking its tokens, at the end of the sentence, all at once:
    `A is [M]` on the training sentences, `B is [M]` on the unseen ones.
    """
    model = build_model(settings, dataset, device)
    mask = mask_token(settings)
    answer = TASKS[settings.task].answer_length(settings)
    noise = seed_generators(dataset.seeds, "masking", device)
    masking = Masking(settings.masking, settings.entity_length, noise)
    recorder = MetricsRecorder(settings, dataset.seeds)
    splits = split_tensors(dataset, device)

    def loss(sentences: torch.Tensor, dropout: Noise) -> torch.Tensor:
        return diffusion_loss(model, sentences, masking, mask, dropout)

    def evaluate(epoch: int) -> str:
        for split, sentences in splits.items():
            query = sentences.clone()
            query[:, :, -answer:] = mask
            # [M] is no answer: the distribution is over the words of the language.
            logits = model(query, answer)[..., :mask]
            recorder.record(epoch, split, logits, sentences[:, :, -answer:])
        return recorder.last_line(len(splits))

    train_batches(model, settings, dataset, loss, evaluate, device)
    return {
        "metrics": recorder.table(),
        "embeddings": embedding_table(model.embeddings(), settings, dataset),
    }
